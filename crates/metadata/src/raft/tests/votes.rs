//! Votes and pre-votes, asked and answered.

use milena_protocol::messages::vote_response::PartitionData;

use super::wire::VoteAsk;
use super::*;

fn vote(candidate: i32, epoch: i32, last: (i32, i64), is_pre_vote: bool) -> Request {
    let ask = VoteAsk {
        epoch: LeaderEpoch(epoch),
        candidate: (NodeId(candidate), directory(candidate)),
        last: EpochEnd { epoch: LeaderEpoch(last.0), end: Offset(last.1) },
        is_pre_vote,
    };
    let to = Voter { id: NodeId(1), directory: directory(1), endpoints: Vec::new() };
    Request::Vote(wire::vote_request("cluster", &to, &ask))
}

fn outcome(response: Response) -> PartitionData {
    let Response::Vote(response) = response else { panic!("{response:?}") };
    assert_eq!(response.error_code, 0);
    response.topics[0].partitions[0].clone()
}

fn is_granted(raft: &mut Raft, request: Request) -> bool {
    outcome(ask(raft, Millis(10), request).1).vote_granted
}

#[test]
fn a_vote_is_on_disk_before_it_is_told() {
    let mut raft = voter_of_three(1);
    let reply_to = ReplyTo(1);
    let effects = raft.step(Millis(10), Event::Request { reply_to, request: vote(2, 1, (0, 0), false) });
    let persisted = effects
        .iter()
        .position(|effect| matches!(effect, Effect::Persist(state) if state.voted == Some((NodeId(2), directory(2)))));
    let told = effects.iter().position(|effect| matches!(effect, Effect::Reply { .. }));
    assert!(persisted.expect("written") < told.expect("answered"));
}

#[test]
fn one_vote_is_given_in_an_epoch_and_repeated_to_the_same_candidate() {
    let mut raft = voter_of_three(1);
    assert!(is_granted(&mut raft, vote(2, 1, (0, 0), false)));
    assert!(!is_granted(&mut raft, vote(3, 1, (0, 9), false)));
    assert!(is_granted(&mut raft, vote(2, 1, (0, 0), false)));
    assert!(is_granted(&mut raft, vote(3, 2, (0, 0), false)), "a later epoch is a new election");
}

#[test]
fn a_vote_that_was_given_before_a_restart_holds() {
    let voted = Some((NodeId(2), directory(2)));
    let state = QuorumState { epoch: LeaderEpoch(4), leader: None, voted, static_voters: Vec::new() };
    let mut raft = Raft::new(options(1));
    raft.step(Millis(0), Event::Started(Start { state: Some(state), ..start(voters_record(&[1, 2, 3])) }));
    assert!(!is_granted(&mut raft, vote(3, 4, (0, 0), false)));
    assert!(is_granted(&mut raft, vote(2, 4, (0, 0), false)));
}

#[test]
fn a_shorter_log_gets_no_vote() {
    let mut raft = Raft::new(options(1));
    let epochs = vec![EpochStart { epoch: LeaderEpoch(2), start: Offset(0) }];
    let log = Start { log_end: Offset(5), epochs, ..start(voters_record(&[1, 2, 3])) };
    raft.step(Millis(0), Event::Started(log));
    assert!(!is_granted(&mut raft, vote(2, 3, (2, 4), false)));
    assert!(!is_granted(&mut raft, vote(2, 4, (1, 9), false)));
    assert!(is_granted(&mut raft, vote(2, 5, (2, 5), false)));
}

#[test]
fn a_pre_vote_promises_nothing_and_changes_no_epoch() {
    let mut raft = voter_of_three(1);
    let (effects, response) = ask(&mut raft, Millis(10), vote(2, 0, (0, 0), true));
    assert!(outcome(response).vote_granted);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist(_))), "{effects:?}");
    assert!(is_granted(&mut raft, vote(3, 0, (0, 0), true)));
    assert_eq!(raft.epoch(), LeaderEpoch(0));
}

#[test]
fn who_hears_from_a_leader_helps_nobody_against_it() {
    let mut raft = voter_of_three(1);
    let (effects, _) = ask(&mut raft, Millis(10), begin(2, 3));
    assert!(is_granted(&mut raft, vote(3, 3, (0, 0), true)), "it has not fetched yet");
    let (_, correlation, _) = sends(&effects).remove(0);
    let standing = Standing { epoch: LeaderEpoch(3), leader: raft.leader.clone() };
    let fit = log::Fit::Prefix;
    let answer = wire::FetchAnswer { error: ErrorCode::None, high_watermark: None, log_start: Offset(0), fit };
    let response = Ok(Response::Fetch(wire::fetch_response(&standing, &answer)));
    raft.step(Millis(11), Event::Response { correlation, response });
    assert!(!is_granted(&mut raft, vote(3, 3, (0, 0), true)));
}

#[test]
fn requests_that_cannot_be_are_refused_with_kafkas_errors() {
    let mut raft = voter_of_three(1);
    ask(&mut raft, Millis(10), begin(2, 5));
    let mut error = |request| ErrorCode::from_number(outcome(ask(&mut raft, Millis(10), request).1).error_code);
    assert_eq!(error(vote(3, 4, (0, 0), false)), ErrorCode::FencedLeaderEpoch);
    assert_eq!(error(vote(3, 6, (6, 1), false)), ErrorCode::InvalidRequest, "records of an epoch without a leader");
    assert_eq!(error(vote(3, 6, (0, -1), false)), ErrorCode::InvalidRequest);
    assert_eq!(error(vote(-1, 6, (0, 0), false)), ErrorCode::InvalidRequest);
    let Request::Vote(mut other) = vote(3, 6, (0, 0), false) else { unreachable!("a vote") };
    other.topics[0].partitions[0].voter_directory_id = directory(9);
    assert_eq!(error(Request::Vote(other.clone())), ErrorCode::InvalidVoterKey);
    other.cluster_id = Some("other".into());
    let (_, response) = ask(&mut raft, Millis(10), Request::Vote(other));
    let Response::Vote(response) = response else { panic!("{response:?}") };
    assert_eq!(ErrorCode::from_number(response.error_code), ErrorCode::InconsistentClusterId);
}

#[test]
fn a_vote_waits_until_the_log_is_on_disk() {
    let (mut raft, now) = elected();
    let request = vote(2, 9, (8, 9), false);
    let effects = raft.step(now, Event::Request { reply_to: ReplyTo(7), request });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })), "{effects:?}");
    let end = raft.log_end();
    let effects = raft.step(now, Event::Flushed { end });
    let reply = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply { to: ReplyTo(7), response, .. } => Some(response),
        _ => None,
    });
    assert!(outcome(reply.expect("answered")).vote_granted);
}

#[test]
fn a_silent_quorum_is_asked_for_pre_votes_first() {
    let mut raft = voter_of_three(1);
    let now = Millis(3000);
    let effects = raft.step(now, Event::Tick);
    let asked = sends(&effects);
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(raft.epoch(), LeaderEpoch(0));
    let effects = grant(&mut raft, now, &effects);
    assert!(matches!(&effects[0], Effect::Persist(state) if state.epoch == LeaderEpoch(1) && state.voted.is_some()));
    grant(&mut raft, now, &effects);
    assert_eq!(raft.leading(), Some(LeaderEpoch(1)));
}

#[test]
fn a_voter_without_pre_votes_is_no_obstacle() {
    let mut raft = voter_of_three(1);
    let effects = raft.step(Millis(3000), Event::Tick);
    let (_, correlation, _) = sends(&effects).remove(0);
    let response = Err(ErrorCode::UnsupportedVersion);
    raft.step(Millis(3000), Event::Response { correlation, response });
    assert_eq!(raft.epoch(), LeaderEpoch(1), "it is a candidate");
}
