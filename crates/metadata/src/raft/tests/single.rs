//! A quorum of one voter.

use super::*;
use crate::records::{self, Control, Entry};

fn formatted() -> Start {
    start(voters_record(&[1]))
}

/// Starts a machine and confirms its first batch, but not the flush.
fn elected(start: Start) -> (Raft, Vec<Entry>) {
    let mut raft = Raft::new(options(1));
    let effects = raft.step(Millis(5), Event::Started(start));
    let [.., Effect::Append(bytes), Effect::LeaderChanged { .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let batch = records::decode(bytes).expect("well formed").remove(0);
    let (epoch, base, end) = (batch.epoch, batch.base, batch.end());
    let effects = raft.step(Millis(5), Event::Appended { epoch, base, end, voters: None });
    assert!(matches!(effects.as_slice(), [Effect::Flush]));
    (raft, batch.entries)
}

#[test]
fn the_only_voter_elects_itself_and_writes_voters_that_were_never_in_the_log() {
    let mut raft = Raft::new(options(1));
    let effects = raft.step(Millis(5), Event::Started(formatted()));
    let [Effect::Persist(led), Effect::Append(_), Effect::LeaderChanged { .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((led.epoch, led.leader, led.voted), (LeaderEpoch(1), Some(NodeId(1)), None));
    let (_, entries) = elected(formatted());
    let [Entry::Control(Control::LeaderChange(_)), Entry::Control(Control::KRaftVersion(_)), last] = entries.as_slice()
    else {
        panic!("{entries:?}")
    };
    assert_eq!(*last, Entry::Control(Control::Voters(voters_record(&[1]))));
}

#[test]
fn leadership_is_announced_when_its_first_record_is_durable() {
    let (mut raft, _) = elected(formatted());
    assert_eq!(raft.high_watermark(), None);
    let effects = raft.step(Millis(6), Event::Flushed { end: Offset(3) });
    let [Effect::HighWatermark(Offset(3)), Effect::BecameLeader { epoch: LeaderEpoch(1) }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let appended = Event::Appended { epoch: LeaderEpoch(1), base: Offset(3), end: Offset(5), voters: None };
    assert!(matches!(raft.step(Millis(7), appended).as_slice(), [Effect::Flush]));
    assert!(raft.step(Millis(7), Event::Flushed { end: Offset(3) }).is_empty());
    let effects = raft.step(Millis(8), Event::Flushed { end: Offset(5) });
    assert!(matches!(effects.as_slice(), [Effect::HighWatermark(Offset(5))]));
}

#[test]
fn a_restart_leads_a_new_epoch_that_begins_behind_the_log() {
    let start = Start {
        state: Some(QuorumState {
            epoch: LeaderEpoch(3),
            leader: Some(NodeId(1)),
            voted: None,
            static_voters: Vec::new(),
        }),
        log_end: Offset(9),
        epochs: vec![EpochStart { epoch: LeaderEpoch(1), start: Offset(0) }],
        voters: vec![(Offset(2), voters_record(&[1]))],
        ..formatted()
    };
    let (mut raft, entries) = elected(start);
    assert!(matches!(entries.as_slice(), [Entry::Control(Control::LeaderChange(_))]));
    assert_eq!((raft.leading(), raft.log_end()), (Some(LeaderEpoch(4)), Offset(10)));
    assert!(raft.step(Millis(6), Event::Flushed { end: Offset(9) }).is_empty(), "earlier epochs prove nothing");
    let effects = raft.step(Millis(6), Event::Flushed { end: Offset(10) });
    assert!(matches!(effects.as_slice(), [Effect::HighWatermark(Offset(10)), Effect::BecameLeader { .. }]));
}

#[test]
fn a_log_that_is_ahead_of_the_promises_decides_the_epoch() {
    let epochs = vec![EpochStart { epoch: LeaderEpoch(6), start: Offset(0) }];
    let (raft, _) = elected(Start { log_end: Offset(1), epochs, ..formatted() });
    assert_eq!(raft.epoch(), LeaderEpoch(7));
}

#[test]
fn who_resigns_leads_no_more() {
    let (mut raft, _) = elected(formatted());
    let effects = raft.step(Millis(6), Event::Resign);
    assert!(matches!(effects.as_slice(), [Effect::Resigned, ..]), "{effects:?}");
    assert_eq!(raft.leading(), None);
    assert!(raft.step(Millis(7), Event::Flushed { end: Offset(3) }).is_empty());
}
