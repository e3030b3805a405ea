//! The machine alone, event by event, and several of them in a network of our own.

mod followers;
mod hostile;
mod leaders;
mod network;
mod single;
mod votes;

use milena_protocol::messages::VotersRecord;

use super::log::EpochEnd;
use super::*;
use crate::format::standalone_voters;
use crate::records;

fn directory(node: i32) -> Uuid {
    Uuid([node as u8; 16])
}

fn options(node: i32) -> Options {
    Options {
        cluster_id: "cluster".into(),
        node: NodeId(node),
        directory: directory(node),
        endpoints: Vec::new(),
        election_timeout_ms: 1000,
        fetch_timeout_ms: 2000,
        request_timeout_ms: 2000,
        retry_backoff_ms: 20,
        seed: node as u64,
    }
}

fn voters_record(nodes: &[i32]) -> VotersRecord {
    let records = nodes.iter().map(|node| {
        let port = 9093 + *node as u16;
        standalone_voters(NodeId(*node), directory(*node), "CONTROLLER", "localhost", port)
    });
    VotersRecord { version: 0, voters: records.flat_map(|record| record.voters).collect() }
}

/// A directory that was just formatted.
fn start(voters: VotersRecord) -> Start {
    Start {
        state: None,
        log_start: Offset(0),
        log_end: Offset(0),
        epochs: Vec::new(),
        snapshot: None,
        static_voters: Vec::new(),
        voters: vec![(Offset(-1), voters)],
    }
}

/// A voter of three that starts with an empty log.
fn voter_of_three(node: i32) -> Raft {
    let mut raft = Raft::new(options(node));
    raft.step(Millis(0), Event::Started(start(voters_record(&[1, 2, 3]))));
    raft
}

/// What the machine answers.
fn ask(raft: &mut Raft, now: Millis, request: Request) -> (Effects, Response) {
    let mut effects = raft.step(now, Event::Request { reply_to: ReplyTo(1), request });
    let at = effects.iter().position(|effect| matches!(effect, Effect::Reply { .. })).expect("an answer");
    let rest = effects.split_off(at + 1);
    let Some(Effect::Reply { response, .. }) = effects.pop() else { unreachable!("it was just seen") };
    effects.extend(rest);
    (effects, response)
}

fn sends(effects: &[Effect]) -> Vec<(i32, u64, Request)> {
    let sends = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, correlation, request } => Some((to.id.0, *correlation, request.clone())),
        _ => None,
    });
    sends.collect()
}

/// Node 1 of three after everything an election takes; its first batch is not flushed.
fn elected() -> (Raft, Millis) {
    let mut raft = voter_of_three(1);
    let now = Millis(3000);
    let effects = raft.step(now, Event::Tick);
    let effects = grant(&mut raft, now, &effects);
    let effects = grant(&mut raft, now, &effects);
    let bytes = effects.iter().find_map(|effect| match effect {
        Effect::Append(bytes) => Some(bytes.clone()),
        _ => None,
    });
    let batch = records::decode(&bytes.expect("a leader writes")).expect("well formed").remove(0);
    raft.step(now, Event::Appended { epoch: batch.epoch, base: batch.base, end: batch.end(), voters: None });
    (raft, now)
}

/// One more voter says yes to what it was asked.
fn grant(raft: &mut Raft, now: Millis, effects: &[Effect]) -> Effects {
    let (_, correlation, request) = sends(effects).remove(0);
    let Request::Vote(request) = request else { panic!("{request:?}") };
    let (asked, _) = wire::parse_vote_request(&request).expect("well formed");
    let standing = Standing { epoch: asked.epoch, leader: None };
    let response = Ok(Response::Vote(wire::vote_response(&standing, Ok(true))));
    raft.step(now, Event::Response { correlation, response })
}

fn begin(leader: i32, epoch: i32) -> Request {
    let to = Voter { id: NodeId::NONE, directory: Uuid::ZERO, endpoints: Vec::new() };
    Request::BeginQuorumEpoch(wire::begin_request(&options(leader), LeaderEpoch(epoch), &to))
}

fn fetch(node: i32, epoch: i32, last: (i32, i64)) -> Request {
    let last = EpochEnd { epoch: LeaderEpoch(last.0), end: Offset(last.1) };
    Request::Fetch(wire::fetch_request(&options(node), LeaderEpoch(epoch), last, None))
}
