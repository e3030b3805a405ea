//! Expressions of a consumer group against the names of all topics: work for wherever nobody waits for it. The shard asks
//! for it as an effect, and hears of it as an event; in between the expressions match what they did before.
//!
//! ```text
//!   heartbeat with an expression ─► Effect::Match ─► [`Matching::step`] until it is done ─► Event::Matched ─► records
//! ```
//!
//! Source: `TopicRegexResolver`, which Kafka runs on an executor of the coordinator.

use std::collections::{BTreeSet, VecDeque};

use milena_metadata::image::Image;

use super::Event;
use crate::Expression;

/// Expressions that are matched for a group at a time; whoever has more gets the next ones when these are done.
pub(super) const EXPRESSIONS_MAX: usize = 64;

/// Expressions of one group that are being matched. Holds one compiled expression at a time.
#[derive(Debug, Clone)]
pub struct Matching {
    group: String,
    image: Image,
    waiting: VecDeque<String>,
    current: Option<Current>,
    done: Vec<(String, BTreeSet<String>)>,
}

#[derive(Debug, Clone)]
struct Current {
    expression: String,
    compiled: Expression,
    /// The names below this one were looked at.
    from: String,
    topics: BTreeSet<String>,
}

impl Matching {
    pub(super) fn new(group: &str, image: Image, expressions: Vec<String>) -> Matching {
        Matching { group: group.to_owned(), image, waiting: expressions.into(), current: None, done: Vec::new() }
    }

    /// Goes on as long as `may_go_on` says so. It is asked before each compilation and after each name: after some
    /// milliseconds at most.
    pub fn run(&mut self, mut may_go_on: impl FnMut() -> bool) {
        while !self.is_done() && may_go_on() {
            match &mut self.current {
                None => self.begin(),
                Some(current) => {
                    if current.looks_through(&self.image, &mut may_go_on) {
                        let found = self.current.take();
                        self.done.extend(found.map(|found| (found.expression, found.topics)));
                    }
                }
            }
        }
    }

    /// Whether all expressions are matched.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// What the shard is to hear.
    pub fn into_event(self) -> Event {
        let version = self.image.provenance().last.0;
        Event::Matched { group: self.group, matches: self.done, version }
    }

    fn begin(&mut self) {
        let Some(expression) = self.waiting.pop_front() else { return };
        match Expression::compile(&expression) {
            Ok(compiled) => {
                self.current = Some(Current { expression, compiled, from: String::new(), topics: BTreeSet::new() });
            }
            // One that a log holds and that is refused here matches nothing.
            Err(_) => self.done.push((expression, BTreeSet::new())),
        }
    }
}

impl Current {
    /// True when it has come to the end.
    fn looks_through(&mut self, image: &Image, may_go_on: &mut impl FnMut() -> bool) -> bool {
        let from = std::mem::take(&mut self.from);
        for topic in image.topics_from(&from) {
            if self.compiled.matches(&topic.name) {
                self.topics.insert(topic.name.to_string());
            }
            if !may_go_on() {
                // The least name that is above this one.
                self.from = format!("{}\0", topic.name);
                return false;
            }
        }
        true
    }
}
