//! Subscriptions by regular expression. A new expression is compiled before its heartbeat comes here, and matched against
//! the names of all topics a moment later, elsewhere; until that is known it matches nothing. The whole name has to match, the
//! syntax is that of RE2 (trap 136).
//!
//! Source: `maybeUpdateRegularExpressions`, `handleRegularExpressionsResult`, `TopicRegexResolver`.

use std::collections::BTreeSet;
use std::ops::Bound;

use milena_base::Millis;
use milena_protocol::ErrorCode;

use super::advance::{Changed, Claim};
use super::group::{ConsumerGroup, Resolved};
use super::member::Member;
use super::{Consumers, Refusal, record};
use crate::group::classic::{Step, Timer};
use crate::group::matching::EXPRESSIONS_MAX;
#[cfg(test)]
use crate::group::planted::Bug;
use crate::group::{Effect, Matching};

/// Expressions of a group are not matched again sooner than this.
const REFRESH_MIN: Millis = Millis(10_000);

/// What a member changed about its subscription.
///
/// # Errors
/// If it subscribes to an expression that nobody else has and that cannot be compiled.
pub(super) fn compare(group: &ConsumerGroup, claim: &Claim<'_>) -> Result<Changed, Refusal> {
    let (member, updated) = (&claim.former, &claim.member);
    let names = member.topics != updated.topics;
    if member.regex == updated.regex {
        return Ok(Changed { names, regex: false, regex_is_resolved: false });
    }
    let regex_is_resolved = match (updated.regex(), claim.fault) {
        (None, _) => member.regex().is_some(),
        (Some(regex), Some(fault)) if group.subscribers_of(regex) == 0 => return Err(invalid(regex, fault)),
        (Some(regex), _) => group.subscribers_of(regex) > 0 && group.regexes.contains_key(regex),
    };
    Ok(Changed { names, regex: true, regex_is_resolved })
}

fn invalid(regex: &str, fault: &str) -> Refusal {
    let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {fault}.");
    Refusal::new(ErrorCode::InvalidRegularExpression, message)
}

impl Consumers {
    /// The last member that had an expression takes it along.
    pub(super) fn forget_regex(&self, step: &mut Step<'_>, group: &ConsumerGroup, member: &Member, updated: &Member) {
        if let Some(regex) = member.regex().filter(|regex| group.subscribers_of(regex) == 1)
            && updated.regex() != Some(regex)
        {
            step.records.push(record::regex_tombstone(step.group_id, regex));
        }
    }

    /// Lets the expressions be matched a moment later, if there is something new to be found.
    pub(super) fn plan_resolving(&self, step: &mut Step<'_>, group: &ConsumerGroup, member: &Member, updated: &Member) {
        if group.subscribers.is_empty() && updated.regex().is_none() {
            return;
        }
        let timer = Timer::Regex { group: step.group_id.to_owned() };
        let wanted = expressions_with(group, member, updated);
        if wanted == 0 || step.timers.is_set(&timer) || self.matching.contains_key(step.group_id) {
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
        let is_unknown = wanted != group.regexes.len();
        #[cfg(test)]
        let (is_stale, is_unknown) = match step.settings.has(Bug::LostMatchForgotten) {
            true => (is_stale && last.is_some(), is_unknown && last.is_some()),
            false => (is_stale, is_unknown),
        };
        if is_new || is_stale || is_unknown {
            step.timers.set(timer, step.now);
        }
    }

    /// [`Timer::Regex`]: has the expressions of a group matched against the topics that there are.
    pub(in crate::group) fn match_expressions(&mut self, step: &mut Step<'_>) {
        self.match_after(step, "");
    }

    /// The expressions behind `after`, as many as are matched at a time.
    fn match_after(&mut self, step: &mut Step<'_>, after: &str) {
        let Some(group) = self.groups.get(step.group_id) else { return };
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let expressions = group.subscribers.range::<str, _>(behind).map(|(regex, _)| regex.clone());
        let expressions: Vec<String> = expressions.take(EXPRESSIONS_MAX).collect();
        let Some(last) = expressions.last() else { return };
        self.matching.insert(step.group_id.to_owned(), last.clone());
        step.effects.push(Effect::Match(Matching::new(step.group_id, self.image.clone(), expressions)));
    }

    /// What came of that. The group, and who subscribes to what, may be others by now.
    pub(in crate::group) fn matched(
        &mut self,
        step: &mut Step<'_>,
        matches: Vec<(String, BTreeSet<String>)>,
        version: i64,
    ) {
        let id = step.group_id;
        let last = self.matching.remove(id);
        let Some(group) = self.groups.get(id) else { return };
        let mut after = group.clone();
        let mut bump = false;
        for (regex, topics) in matches {
            if group.subscribers_of(&regex) == 0 {
                continue;
            }
            let resolved = Resolved { topics, version, timestamp: step.now };
            let none = BTreeSet::new();
            bump |= group.regexes.get(&regex).map_or(&none, |former| &former.topics) != &resolved.topics;
            step.records.push(record::regex(id, &regex, &resolved));
            after.regexes.insert(regex, resolved);
        }
        let hash = self.hash(after.topic_names(&[], None));
        #[cfg(test)]
        let (bump, hash) =
            if step.settings.has(Bug::MatchWithoutEpoch) { (false, group.metadata_hash) } else { (bump, hash) };
        if bump || hash != group.metadata_hash {
            step.records.push(record::epoch(id, group.epoch + 1, hash));
        }
        if let Some(last) = last {
            self.match_after(step, &last);
        }
    }
}

/// How many expressions the members will have once `updated` has taken the place of `member`.
fn expressions_with(group: &ConsumerGroup, member: &Member, updated: &Member) -> usize {
    let mut expressions = group.subscribers.len();
    if member.regex() != updated.regex() {
        expressions -= usize::from(member.regex().is_some_and(|former| group.subscribers_of(former) == 1));
        expressions += usize::from(updated.regex().is_some_and(|regex| group.subscribers_of(regex) == 0));
    }
    expressions
}
