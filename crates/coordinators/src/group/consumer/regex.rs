//! Subscriptions by regular expression. A new expression is compiled at once and matched against the names of all
//! topics a moment later, in a step of its own; until then it matches nothing. The whole name has to match, the
//! syntax is that of RE2 (trap 136).
//!
//! Source: `maybeUpdateRegularExpressions`, `handleRegularExpressionsResult`, `TopicRegexResolver`.

use std::collections::{BTreeMap, BTreeSet};

use milena_base::Millis;
use milena_protocol::ErrorCode;
use regex::{Regex, RegexBuilder};

use super::group::{ConsumerGroup, Resolved};
use super::heartbeat::Changed;
use super::member::Member;
use super::{Consumers, Refusal, re2, record};
use crate::group::classic::{Step, Timer};

/// Memory of a compiled expression, and of its matcher. Beyond it the expression is refused as invalid.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Expressions of a group are not matched again sooner than this.
const REFRESH_MIN: Millis = Millis(10_000);

impl Consumers {
    /// What a member changed about its subscription.
    ///
    /// # Errors
    /// If it subscribes to an expression that nobody else has and that cannot be compiled.
    pub(super) fn compare(&self, group: &ConsumerGroup, member: &Member, updated: &Member) -> Result<Changed, Refusal> {
        let names = member.topics != updated.topics;
        if member.regex == updated.regex {
            return Ok(Changed { names, regex: false, regex_is_resolved: false });
        }
        let regex_is_resolved = match updated.regex() {
            None => member.regex().is_some(),
            Some(regex) if group.subscribers_of(regex) == 0 => {
                compile(regex)?;
                false
            }
            Some(regex) => group.regexes.contains_key(regex),
        };
        Ok(Changed { names, regex: true, regex_is_resolved })
    }

    /// The last member that had an expression takes it along.
    pub(super) fn forget_regex(&self, step: &mut Step<'_>, group: &ConsumerGroup, member: &Member, updated: &Member) {
        if let Some(regex) = member.regex().filter(|regex| group.subscribers_of(regex) == 1)
            && updated.regex() != Some(regex)
        {
            step.records.push(record::regex_tombstone(step.group_id, regex));
        }
    }

    /// Lets the expressions be resolved a moment later, if there is something new to be found.
    pub(super) fn plan_resolving(&self, step: &mut Step<'_>, group: &ConsumerGroup, member: &Member, updated: &Member) {
        let timer = Timer::Regex { group: step.group_id.to_owned() };
        let wanted: BTreeSet<&str> = group.with(updated).filter_map(Member::regex).collect();
        if wanted.is_empty() || step.timers.is_set(&timer) {
            return;
        }
        let last = group.regexes.values().next();
        if last.is_some_and(|last| step.now <= last.timestamp + REFRESH_MIN) {
            return;
        }
        let is_new =
            member.regex != updated.regex && updated.regex().is_some_and(|regex| group.subscribers_of(regex) == 0);
        let interval = Millis(i64::from(step.settings.consumer.regex_refresh_interval_ms));
        let is_stale =
            last.is_none_or(|last| last.version < self.new_topics_at || step.now > last.timestamp + interval);
        if is_new || is_stale || wanted.len() != group.regexes.len() {
            step.timers.set(timer, step.now);
        }
    }

    /// [`Timer::Regex`]: matches the expressions of a group against the topics that there are.
    pub(in crate::group) fn resolve(&self, step: &mut Step<'_>) {
        let id = step.group_id;
        let Some(group) = self.groups.get(id) else { return };
        let wanted: BTreeSet<&str> = group.members.values().filter_map(Member::regex).collect();
        let mut after = group.clone();
        let mut bump = false;
        for (regex, topics) in self.matches(&wanted) {
            let resolved = Resolved { topics, version: self.image.provenance().last.0, timestamp: step.now };
            let none = BTreeSet::new();
            bump |= group.regexes.get(regex).map_or(&none, |former| &former.topics) != &resolved.topics;
            step.records.push(record::regex(id, regex, &resolved));
            after.regexes.insert(regex.to_owned(), resolved);
        }
        let hash = self.hash(after.topic_names(after.members.values()));
        if bump || hash != group.metadata_hash {
            step.records.push(record::epoch(id, group.epoch + 1, hash));
        }
    }

    /// An expression that a log holds and that does not compile here matches nothing.
    fn matches<'a>(&self, wanted: &BTreeSet<&'a str>) -> BTreeMap<&'a str, BTreeSet<String>> {
        let mut matches: BTreeMap<&str, BTreeSet<String>> =
            wanted.iter().map(|regex| (*regex, BTreeSet::new())).collect();
        let compiled = wanted.iter().filter_map(|regex| Some((*regex, compile(regex).ok()?)));
        let compiled: Vec<(&str, Regex)> = compiled.collect();
        for topic in self.image.topics() {
            for (regex, _) in compiled.iter().filter(|(_, compiled)| compiled.is_match(&topic.name)) {
                matches.entry(regex).or_default().insert(topic.name.to_string());
            }
        }
        matches
    }
}

/// Compiles an expression that has to match a whole name.
fn compile(regex: &str) -> Result<Regex, Refusal> {
    let invalid = |why: &str| {
        let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.");
        Refusal::new(ErrorCode::InvalidRegularExpression, message)
    };
    let built = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
    };
    let translated = re2::translate(regex).map_err(invalid)?;
    // By itself first: "a)(b" would become valid between parentheses.
    built(&translated).map_err(|error| invalid(&describe(&error)))?;
    built(&format!(r"\A(?:{translated})\z")).map_err(|error| invalid(&describe(&error)))
}

/// The last line of the parser's explanation: what is wrong, without the picture of where.
fn describe(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_136_the_whole_name_has_to_match() {
        assert!(compile("foo|bar").unwrap().is_match("foo"));
        assert!(!compile("foo|bar").unwrap().is_match("foo1"));
        assert!(!compile("foo").unwrap().is_match("foo\n"));
        assert!(compile("foo.*").unwrap().is_match("foo-1"));
    }

    #[test]
    fn what_re2_does_not_know_or_what_is_too_large_is_refused() {
        for bad in ["[", "a)(b", "(?=a)", r"(a)\1", "((a{1000}){1000}){1000}"] {
            assert_eq!(compile(bad).unwrap_err().error, ErrorCode::InvalidRegularExpression, "{bad}");
        }
    }
}
