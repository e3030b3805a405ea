//! Subscriptions that say the same in other words: the assignors of Kafka ask for the words, not for the topics.

use milena_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;

use super::Scenario;
use super::consumer_group_traps::{by_regex, quoted};
use super::consumer_groups::{beat, beats, joins, member_epoch, settled, shown};
use crate::exchange::Exchange;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/uniform_by_words",
        shows: "names that differ, an expression beside names, two expressions: the same topics are balanced otherwise",
        traps: &[],
        play: uniform_by_words,
    },
    Scenario {
        name: "consumer_groups/uniform_by_unresolved_words",
        shows: "an expression that waits to be resolved does not count yet when the others are assigned anew",
        traps: &[136],
        play: uniform_by_unresolved_words,
    },
];

/// Names and an expression.
type Words<'a> = (&'a [&'a str], &'a str);

/// Joins with those names and that expression.
fn subscribing(group: &str, member: &str, names: &[&str], regex: &str) -> ConsumerGroupHeartbeatRequest {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let request = ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(names), ..joins(group, member, &[]) };
    if regex.is_empty() { request } else { by_regex(regex, request) }
}

fn uniform_by_words(x: &mut Exchange) {
    let topic = x.topic("t", 7, &[]).name;
    let missing = x.name("missing");
    let (exact, other) = (quoted(&topic), format!("{}|nothing", quoted(&topic)));
    let (t, none): (&[&str], &[&str]) = (&[&topic], &[]);
    let words: [(&str, [Words<'_>; 3]); 7] = [
        ("same", [(t, ""), (t, ""), (t, "")]),
        ("reordered", [(&[&topic, &missing], ""), (&[&missing, &topic, &topic], ""), (&[&topic, &missing], "")]),
        ("missing", [(t, ""), (&[&topic, &missing], ""), (t, "")]),
        ("expression", [(none, &exact), (none, &exact), (none, &exact)]),
        ("expressions", [(none, &exact), (none, &other), (none, &exact)]),
        ("mixed", [(t, ""), (none, &exact), (t, "")]),
        ("both", [(t, &exact), (t, &exact), (t, &exact)]),
    ];
    for (suffix, members) in words {
        let group = x.name(suffix);
        let mut is_resolved = false;
        for (member, (names, regex)) in ["a", "b", "c"].into_iter().zip(members) {
            let joined = beat(x, &subscribing(&group, member, names, regex));
            // Only the first expression of a group is resolved at once.
            if !regex.is_empty() && !is_resolved {
                settled(x, &group, member, joined.member_epoch);
                is_resolved = true;
            }
            shown(x, &group);
        }
        // One of the first two goes, and what it had is shared by those who stay.
        beat(x, &beats(&group, "a", -1));
        let epoch = member_epoch(x, &group, "c");
        beat(x, &beats(&group, "c", epoch));
        shown(x, &group);
    }
}

fn uniform_by_unresolved_words(x: &mut Exchange) {
    let topic = x.topic("t", 7, &[]).name;
    let group = x.name("g");
    for member in ["a", "b", "c"] {
        beat(x, &subscribing(&group, member, &[&topic], ""));
    }
    beat(x, &beats(&group, "a", -1));
    // Nobody has been assigned anew since then.
    let epoch = member_epoch(x, &group, "b");
    // Its answer says how the others were assigned; to ask later is to ask whether the expression is resolved by then.
    beat(x, &by_regex("nothing", beats(&group, "b", epoch)));
}
