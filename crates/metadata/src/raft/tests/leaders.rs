//! What a leader does for its followers, and when it stops.

use milena_protocol::messages::fetch_response::PartitionData;

use super::*;

fn partition(response: Response) -> PartitionData {
    let Response::Fetch(response) = response else { panic!("{response:?}") };
    response.responses[0].partitions[0].clone()
}

fn high_watermarks(effects: &[Effect]) -> Vec<Offset> {
    let raised = effects.iter().filter_map(|effect| match effect {
        Effect::HighWatermark(offset) => Some(*offset),
        _ => None,
    });
    raised.collect()
}

#[test]
fn a_majority_on_disk_is_committed() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(2), request: fetch(2, epoch, (epoch, end.0)) });
    assert_eq!(high_watermarks(&effects), [], "the leader's own disk does not have it");
    let effects = raft.step(now, Event::Flushed { end });
    let [
        Effect::HighWatermark(committed),
        Effect::BecameLeader { .. },
        Effect::Reply { to: ReplyTo(2), response, .. },
        ..,
    ] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*committed, partition(response.clone()).high_watermark), (end, end.0));
}

#[test]
fn an_observer_commits_nothing() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    raft.step(now, Event::Flushed { end });
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(4), request: fetch(4, epoch, (epoch, end.0)) });
    assert!(matches!(effects.as_slice(), [Effect::Timer(_)]), "it waits: {effects:?}");
}

#[test]
fn a_fetch_is_given_the_range_that_it_misses() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(2), request: fetch(2, epoch, (0, 0)) });
    let Some(Effect::Reply { records: Some(range), .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((range.from, range.end), (Offset(0), end));
}

#[test]
fn a_fetch_without_news_is_answered_when_its_time_is_up() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(2), request: fetch(2, epoch, (epoch, end.0)) });
    assert!(effects.contains_timer(now + Millis(500)), "{effects:?}");
    let effects = raft.step(now + Millis(500), Event::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply { to: ReplyTo(2), records: None, .. })));
}

#[test]
fn another_history_is_told_where_it_parted() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    let (_, response) = ask(&mut raft, now, fetch(2, epoch, (epoch, end.0 + 5)));
    let parted = partition(response).diverging_epoch;
    assert_eq!((parted.epoch, parted.end_offset), (epoch, end.0));
}

#[test]
fn only_the_leader_of_the_epoch_answers_a_fetch() {
    let (mut raft, now) = elected();
    let error = |raft: &mut Raft, epoch| {
        ErrorCode::from_number(partition(ask(raft, now, fetch(3, epoch, (0, 0))).1).error_code)
    };
    assert_eq!(error(&mut raft, 0), ErrorCode::FencedLeaderEpoch);
    assert_eq!(error(&mut raft, 2), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(error(&mut voter_of_three(2), 0), ErrorCode::NotLeaderOrFollower);
    let (_, response) = ask(&mut raft, now, fetch(2, 1, (3, 5)));
    assert_eq!(ErrorCode::from_number(partition(response).error_code), ErrorCode::InvalidRequest);
}

#[test]
fn a_leader_that_no_majority_listens_to_resigns() {
    let (mut raft, now) = elected();
    let effects = raft.step(now + Millis(3000), Event::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Resigned)), "{effects:?}");
    assert_eq!(raft.leading(), None);

    let (mut raft, now) = elected();
    let epoch = raft.epoch().0;
    ask(&mut raft, now + Millis(1000), fetch(3, epoch, (0, 0)));
    raft.step(now + Millis(3000), Event::Tick);
    assert_eq!(raft.leading(), Some(raft.epoch()), "one of the two others is enough");
}

#[test]
fn who_resigns_names_the_best_informed_first() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch().0, raft.log_end());
    ask(&mut raft, now, fetch(2, epoch, (0, 0)));
    raft.step(now, Event::Request { reply_to: ReplyTo(3), request: fetch(3, epoch, (epoch, end.0)) });
    let effects = raft.step(now, Event::Resign);
    let goodbyes = sends(&effects);
    let Request::EndQuorumEpoch(goodbye) = &goodbyes[0].2 else { panic!("{goodbyes:?}") };
    assert_eq!(goodbye.topics[0].partitions[0].preferred_successors, [3, 2]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply { to: ReplyTo(3), .. })), "nobody waits on");
}

#[test]
fn a_leader_that_restarts_takes_no_part_in_its_old_epoch() {
    let led = QuorumState { epoch: LeaderEpoch(4), leader: Some(NodeId(1)), voted: None, static_voters: Vec::new() };
    let mut raft = Raft::new(options(1));
    raft.step(Millis(0), Event::Started(Start { state: Some(led), ..start(voters_record(&[1, 2, 3])) }));
    assert_eq!((raft.leading(), raft.leader(), raft.epoch()), (None, None, LeaderEpoch(4)));
    raft.step(Millis(2000), Event::Tick);
    assert_eq!(raft.epoch(), LeaderEpoch(5));
}

#[test]
fn a_snapshot_is_served_by_its_name() {
    let (mut raft, now) = elected();
    let (epoch, end) = (raft.epoch(), raft.log_end());
    let id = crate::snapshot::SnapshotId { end, epoch };
    raft.step(now, Event::SnapshotSaved { id, log_start: end });
    let (_, response) = ask(&mut raft, now, fetch(2, epoch.0, (0, 0)));
    assert_eq!(partition(response).snapshot_id.end_offset, end.0, "records before it are gone");
    let request = Request::FetchSnapshot(wire::snapshot_request(&options(2), epoch, id, 10));
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(2), request });
    let Some(Effect::Reply { snapshot: Some(range), .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((range.id, range.position), (id, 10));
    let other = crate::snapshot::SnapshotId { end: Offset(1), epoch };
    let request = Request::FetchSnapshot(wire::snapshot_request(&options(2), epoch, other, 0));
    let (_, Response::FetchSnapshot(response)) = ask(&mut raft, now, request) else { panic!("another answer") };
    assert_eq!(ErrorCode::from_number(response.topics[0].partitions[0].error_code), ErrorCode::SnapshotNotFound);
}

trait Timers {
    fn contains_timer(&self, at: Millis) -> bool;
}

impl Timers for Effects {
    fn contains_timer(&self, at: Millis) -> bool {
        self.iter().any(|effect| matches!(effect, Effect::Timer(when) if *when == at))
    }
}
