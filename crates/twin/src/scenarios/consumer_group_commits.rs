//! Commits to groups whose members have epochs: plain and in transactions, of members of both protocols (KIP-447,
//! KIP-848, KIP-1251).

use milena_protocol::messages::{OffsetCommitRequest, TxnOffsetCommitRequest};

use super::Scenario;
use super::consumer_group_traps::as_member;
use super::consumer_groups::{beat, beats, instance, joins, owning, partitions};
use super::group_migration::{classic_owner, joining, syncing};
use super::offsets::{commit, part};
use super::transactions::{Producer, committed, enter, settled};
use crate::exchange::{Exchange, Topic};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "consumer_groups/trap_137_transactions",
        shows: "a transaction's offsets of members in their epoch, in an older one, of strangers, of nobody",
        traps: &[137],
        play: transactions,
    },
    Scenario {
        name: "consumer_groups/trap_138_commits_of_classic_members",
        shows: "members of the classic protocol commit in their generation, before and after the group changes its kind",
        traps: &[138],
        play: commits_of_classic_members,
    },
    Scenario {
        name: "consumer_groups/commits_of_instances",
        shows: "a commit is not held against its instance id, nor against a member that is away",
        traps: &[137],
        play: commits_of_instances,
    },
];

/// The versions of TxnOffsetCommit that name a member: the first, and those that end differently.
const IN_TRANSACTION: [i16; 3] = [3, 4, 5];

/// Who sends a commit: member, epoch, instance.
type Sender<'a> = (&'a str, i32, Option<&'a str>);

/// One partition's offset in the transaction of the producer.
fn sent(x: &mut Exchange, version: i16, producer: &Producer, topic: &Topic, at: i32, sender: Sender<'_>) {
    let (member, epoch, instance) = sender;
    let mut request = TxnOffsetCommitRequest {
        member_id: member.to_owned(),
        generation_id: epoch,
        group_instance_id: instance.map(str::to_owned),
        ..producer.commit(x, topic, 5)
    };
    request.topics[0].partitions[0].partition_index = at;
    x.ask(version, &request);
}

/// The same without a transaction.
fn plain(x: &mut Exchange, version: i16, topic: &Topic, at: i32, sender: Sender<'_>) {
    let (member, epoch, instance) = sender;
    let request = as_member(commit(&x.name("g"), topic, vec![part(at, 5, None)]), member, epoch);
    x.ask(version, &OffsetCommitRequest { group_instance_id: instance.map(str::to_owned), ..request });
}

fn transactions(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 2, &[]), x.name("g"));
    let producer = enter(x, "p");
    let first = beat(x, &joins(&group, "m", &[&topic])).member_epoch;
    producer.offsets_added(x);
    let strangers = [("n", first, None), ("", first, None), ("", -1, None), ("", -2, None), ("", -1, Some("i"))];
    let epochs = [first, first + 1, first - 1, 0, -1].map(|epoch| ("m", epoch, None));
    for version in IN_TRANSACTION {
        for sender in epochs.into_iter().chain(strangers) {
            sent(x, version, &producer, &topic, 0, sender);
        }
    }
    // Before version 3 nobody is named.
    sent(x, 0, &producer, &topic, 0, ("", -1, None));
    sent(x, 2, &producer, &topic, 0, ("", -1, None));
    settled(x, &producer, &topic, true);
    // One of its partitions goes: at the old epoch it still commits what it had then.
    let second = beat(x, &joins(&group, "n", &[&topic])).member_epoch;
    let told = beat(x, &owning(beats(&group, "m", first), &[(&topic, &[0, 1])]));
    let left = partitions(&told);
    producer.offsets_added(x);
    for at in 0..2 {
        sent(x, 4, &producer, &topic, at, ("m", first, None));
    }
    beat(x, &owning(beats(&group, "m", first), &[(&topic, &left)]));
    for version in IN_TRANSACTION {
        for at in 0..2 {
            for sender in [("m", first, None), ("m", second, None), ("m", first - 1, None), ("n", first, None)] {
                sent(x, version, &producer, &topic, at, sender);
            }
        }
    }
    let large = Some("x".repeat(5_000));
    let mut request =
        TxnOffsetCommitRequest { member_id: "m".to_owned(), generation_id: first, ..producer.commit(x, &topic, 5) };
    request.topics[0].partitions[0].committed_metadata = large;
    request.topics[0].partitions[0].partition_index = 1 - left.first().copied().unwrap_or_default();
    x.ask(4, &request);
    settled(x, &producer, &topic, false);
    committed(x, &topic);
    // Nobody is there: whoever names no epoch may.
    beat(x, &beats(&group, "m", -1));
    beat(x, &beats(&group, "n", -1));
    producer.offsets_added(x);
    for version in IN_TRANSACTION {
        for sender in [("", -1, None), ("m", -1, None), ("m", -2, Some("i")), ("m", second, None)] {
            sent(x, version, &producer, &topic, 0, sender);
        }
    }
    settled(x, &producer, &topic, true);
    committed(x, &topic);
}

fn commits_of_classic_members(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 4, &[]), x.name("g"));
    let producer = enter(x, "p");
    let classic = classic_owner(x, &group, &topic);
    let (member, first) = (classic.member_id.as_str(), classic.generation_id);
    let new = beat(x, &joins(&group, "n", &[&topic])).member_epoch;
    producer.offsets_added(x);
    let every = |x: &mut Exchange, at: i32, senders: &[Sender<'_>]| {
        for sender in senders {
            let oldest = if sender.2.is_some() { 7 } else { 2 };
            for version in [oldest, 8, 9, 10] {
                plain(x, version, &topic, at, *sender);
            }
            for version in [3, 4] {
                sent(x, version, &producer, &topic, at, *sender);
            }
        }
    };
    every(x, 3, &[(member, first, None), (member, first - 1, None), (member, first + 1, None), (member, -1, None)]);
    every(x, 3, &[("stranger", first, None), (member, first, Some("i")), ("n", new, None), ("n", new - 1, None)]);
    // It goes on to the next generation without the partitions that it gives back.
    let again = x.ask(9, &joining(&group, member, &topic, &[0, 1, 2, 3]));
    x.ask(5, &syncing(&group, &again, &[]));
    every(x, 3, &[(member, first, None)]);
    let moved = x.ask(9, &joining(&group, member, &topic, &[0, 1]));
    x.ask(5, &syncing(&group, &moved, &[]));
    every(x, 3, &[(member, moved.generation_id, None), (member, first, None)]);
    every(x, 0, &[(member, moved.generation_id, None), (member, first, None)]);
    // A classic group again, in which only its own generation counts, once it has become whole.
    beat(x, &beats(&group, "n", -1));
    every(x, 0, &[(member, first, None), (member, moved.generation_id, None), ("n", new, None)]);
    every(x, 0, &[(member, moved.generation_id, Some("i")), ("", -1, None)]);
    settled(x, &producer, &topic, true);
    committed(x, &topic);
}

fn commits_of_instances(x: &mut Exchange) {
    let (topic, group) = (x.topic("t", 1, &[]), x.name("g"));
    let producer = enter(x, "p");
    let epoch = beat(x, &instance("i", joins(&group, "m", &[&topic]))).member_epoch;
    producer.offsets_added(x);
    let both = |x: &mut Exchange, sender: Sender<'_>| {
        for version in [9, 10] {
            plain(x, version, &topic, 0, sender);
        }
        for version in IN_TRANSACTION {
            sent(x, version, &producer, &topic, 0, sender);
        }
    };
    for given in [None, Some("i"), Some("another")] {
        both(x, ("m", epoch, given));
    }
    for sender in [("", -1, Some("i")), ("", epoch, Some("i")), ("stranger", epoch, Some("i"))] {
        both(x, sender);
    }
    // Away, and somebody else in its place.
    beat(x, &instance("i", beats(&group, "m", -2)));
    both(x, ("m", epoch, Some("i")));
    both(x, ("m", -2, Some("i")));
    let next = beat(x, &instance("i", joins(&group, "successor", &[&topic]))).member_epoch;
    both(x, ("m", next, Some("i")));
    both(x, ("successor", next, Some("i")));
    both(x, ("successor", next - 1, Some("i")));
    settled(x, &producer, &topic, true);
    committed(x, &topic);
}
