//! What a follower does with what it hears and fetches.

use bytes::Bytes;
use milena_protocol::messages::{MetadataRecord, NoOpRecord};
use milena_protocol::wire::Records;

use super::log::Fit;
use super::wire::FetchAnswer;
use super::*;

/// Node 1 follows node 2 in epoch 3, and has sent a fetch with the returned number.
fn following() -> (Raft, u64) {
    let mut raft = voter_of_three(1);
    let (effects, _) = ask(&mut raft, Millis(10), begin(2, 3));
    let (to, correlation, _) = sends(&effects).remove(0);
    assert_eq!(to, 2);
    (raft, correlation)
}

fn batch(base: i64, epoch: i32) -> Bytes {
    let records = vec![MetadataRecord::from(NoOpRecord::default()); 2];
    records::encode_data(Offset(base), LeaderEpoch(epoch), Millis(5), &records)
}

fn fetched(raft: &mut Raft, correlation: u64, bytes: Bytes, fit: Fit, high_watermark: i64) -> Effects {
    let standing = Standing { epoch: raft.epoch(), leader: raft.leader.clone() };
    let high_watermark = Some(Offset(high_watermark));
    let answer = FetchAnswer { error: ErrorCode::None, high_watermark, log_start: Offset(0), fit };
    let mut response = wire::fetch_response(&standing, &answer);
    response.responses[0].partitions[0].records = Records::Bytes(bytes);
    raft.step(Millis(20), Event::Response { correlation, response: Ok(Response::Fetch(response)) })
}

/// Appends and flushes two records of epoch 3; returns the number of the next fetch.
fn replicate(raft: &mut Raft, correlation: u64, base: i64) -> u64 {
    fetched(raft, correlation, batch(base, 3), Fit::Prefix, 0);
    let end = Offset(base + 2);
    raft.step(Millis(20), Event::Appended { epoch: LeaderEpoch(3), base: Offset(base), end, voters: None });
    sends(&raft.step(Millis(20), Event::Flushed { end })).remove(0).1
}

#[test]
fn the_next_fetch_waits_for_the_flush_of_the_last() {
    let (mut raft, correlation) = following();
    let effects = fetched(&mut raft, correlation, batch(0, 3), Fit::Prefix, 2);
    assert!(matches!(&effects[0], Effect::AppendFetched(bytes) if *bytes == batch(0, 3)), "{effects:?}");
    let appended = Event::Appended { epoch: LeaderEpoch(3), base: Offset(0), end: Offset(2), voters: None };
    let effects = raft.step(Millis(20), appended);
    assert!(matches!(effects.as_slice(), [Effect::HighWatermark(Offset(2)), Effect::Flush, ..]), "{effects:?}");
    assert!(sends(&effects).is_empty());
    let effects = raft.step(Millis(21), Event::Flushed { end: Offset(2) });
    let (_, _, Request::Fetch(next)) = sends(&effects).remove(0) else { panic!("{effects:?}") };
    let partition = &next.topics[0].partitions[0];
    assert_eq!((partition.fetch_offset, partition.last_fetched_epoch, partition.high_watermark), (2, 3, 2));
}

#[test]
fn batches_that_do_not_continue_the_log_are_left_out() {
    let broken = Bytes::from([&batch(2, 3)[..80], &[0xff]].concat());
    let cases = [batch(4, 3), batch(2, 4), broken, batch(2, 3).slice(..30)];
    for unfit in cases {
        let (mut raft, correlation) = following();
        let effects = fetched(&mut raft, correlation, Bytes::from([batch(0, 3), unfit].concat()), Fit::Prefix, 0);
        assert!(matches!(&effects[0], Effect::AppendFetched(bytes) if *bytes == batch(0, 3)), "{effects:?}");
    }
    let (mut raft, correlation) = following();
    let effects = fetched(&mut raft, correlation, batch(7, 3), Fit::Prefix, 0);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::AppendFetched(_))));
}

#[test]
fn what_the_leader_does_not_have_is_cut_off_but_never_what_is_committed() {
    let (mut raft, correlation) = following();
    let correlation = replicate(&mut raft, correlation, 0);
    let correlation = replicate(&mut raft, correlation, 2);
    let parted = |end| Fit::Diverging(EpochEnd { epoch: LeaderEpoch(3), end: Offset(end) });
    let effects = fetched(&mut raft, correlation, Bytes::new(), parted(2), 0);
    assert!(matches!(&effects[0], Effect::Truncate { end: Offset(2) }), "{effects:?}");
    let effects = raft.step(Millis(21), Event::Truncated { end: Offset(2) });
    let (_, correlation, _) = sends(&effects).remove(0);
    let effects = fetched(&mut raft, correlation, Bytes::new(), Fit::Prefix, 2);
    assert!(matches!(&effects[0], Effect::HighWatermark(Offset(2))), "{effects:?}");
    let (_, correlation, _) = sends(&effects).remove(0);
    let effects = fetched(&mut raft, correlation, Bytes::new(), parted(0), 2);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Truncate { .. })), "{effects:?}");
}

#[test]
fn a_leader_that_does_not_answer_is_asked_about_elsewhere_and_then_replaced() {
    let (mut raft, correlation) = following();
    let response = Err(ErrorCode::NetworkException);
    let effects = raft.step(Millis(20), Event::Response { correlation, response });
    assert_eq!(sends(&effects).iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [3]);
    let effects = raft.step(Millis(2010), Event::Tick);
    let Request::Vote(ask) = sends(&effects).remove(0).2 else { panic!("{effects:?}") };
    assert!(ask.topics[0].partitions[0].pre_vote);
}

#[test]
fn a_voter_that_failed_is_left_alone_for_as_long_as_is_said() {
    for retry_backoff_ms in [20, 700] {
        let mut raft = Raft::new(Options { retry_backoff_ms, ..options(1) });
        raft.step(Millis(0), Event::Started(start(voters_record(&[1, 2]))));
        let (effects, _) = ask(&mut raft, Millis(10), begin(2, 3));
        let (_, correlation, _) = sends(&effects).remove(0);
        raft.step(Millis(20), Event::Response { correlation, response: Err(ErrorCode::NetworkException) });
        let is_asked = |raft: &mut Raft, at| !sends(&raft.step(Millis(at), Event::Tick)).is_empty();
        assert!(!is_asked(&mut raft, 19 + retry_backoff_ms), "{retry_backoff_ms}");
        assert!(is_asked(&mut raft, 20 + retry_backoff_ms), "{retry_backoff_ms}");
    }
}

#[test]
fn a_late_answer_changes_nothing() {
    let (mut raft, correlation) = following();
    ask(&mut raft, Millis(15), begin(3, 4));
    let effects = fetched(&mut raft, correlation, batch(0, 3), Fit::Prefix, 2);
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn two_leaders_in_one_epoch_are_not_believed() {
    let (mut raft, _) = following();
    let (_, Response::BeginQuorumEpoch(response)) = ask(&mut raft, Millis(15), begin(3, 3)) else { panic!("answer") };
    let partition = &response.topics[0].partitions[0];
    assert_eq!((ErrorCode::from_number(partition.error_code), partition.leader_id), (ErrorCode::InvalidRequest, 2));
}

#[test]
fn the_first_successor_campaigns_at_once_and_others_later() {
    let goodbye = |successors: &[i32]| {
        let successors: Vec<_> = successors.iter().map(|id| (NodeId(*id), directory(*id))).collect();
        Request::EndQuorumEpoch(wire::end_request("cluster", (LeaderEpoch(3), NodeId(2)), &successors))
    };
    let (mut raft, _) = following();
    let (effects, _) = ask(&mut raft, Millis(20), goodbye(&[1, 3]));
    assert!(matches!(&sends(&effects)[0].2, Request::Vote(_)), "{effects:?}");
    let (mut raft, _) = following();
    let (effects, _) = ask(&mut raft, Millis(20), goodbye(&[3, 1]));
    assert!(sends(&effects).is_empty());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Timer(Millis(520)))), "{effects:?}");
}
