//! Nothing that a peer sends makes the machine panic or contradict itself.

use bytes::Bytes;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, FetchRequest, FetchResponse, FetchSnapshotRequest,
    FetchSnapshotResponse, VoteRequest, VoteResponse,
};
use milena_protocol::wire::Records;

use super::log::Fit;
use super::wire::{FetchAnswer, VoteAsk};
use super::*;
use crate::snapshot::SnapshotId;

/// Small numbers that occur, and the ends of what fits.
fn number(random: &mut Random) -> i64 {
    match random.below(8) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => -1,
        _ => random.below(6) as i64,
    }
}

fn epoch(random: &mut Random) -> LeaderEpoch {
    LeaderEpoch(number(random).clamp(i32::MIN.into(), i32::MAX.into()) as i32)
}

fn node(random: &mut Random) -> i32 {
    random.below(6) as i32 - 1
}

fn end(random: &mut Random) -> EpochEnd {
    EpochEnd { epoch: epoch(random), end: Offset(number(random)) }
}

fn request(random: &mut Random) -> Request {
    let sender = options(node(random));
    let to = Voter { id: NodeId(node(random)), directory: Uuid::ZERO, endpoints: Vec::new() };
    match random.below(10) {
        0 | 1 => {
            let candidate = (NodeId(node(random)), Uuid::ZERO);
            let ask = VoteAsk { epoch: epoch(random), candidate, last: end(random), is_pre_vote: random.below(2) == 0 };
            Request::Vote(wire::vote_request("cluster", &to, &ask))
        }
        2 => Request::BeginQuorumEpoch(wire::begin_request(&sender, epoch(random), &to)),
        3 => {
            let successors: Vec<_> = (0..random.below(80)).map(|_| (NodeId(node(random)), Uuid::ZERO)).collect();
            Request::EndQuorumEpoch(wire::end_request("cluster", (epoch(random), sender.node), &successors))
        }
        4 | 5 => {
            let mut request = wire::fetch_request(&sender, epoch(random), end(random), Some(Offset(number(random))));
            request.max_wait_ms = number(random) as i32;
            request.max_bytes = number(random) as i32;
            Request::Fetch(request)
        }
        6 => {
            let id = SnapshotId { end: Offset(number(random)), epoch: epoch(random) };
            let position = number(random) as u64;
            Request::FetchSnapshot(wire::snapshot_request(&sender, epoch(random), id, position))
        }
        7 => Request::Vote(VoteRequest::default()),
        8 => Request::BeginQuorumEpoch(BeginQuorumEpochRequest::default()),
        _ => match random.below(3) {
            0 => Request::EndQuorumEpoch(EndQuorumEpochRequest::default()),
            1 => Request::Fetch(FetchRequest::default()),
            _ => Request::FetchSnapshot(FetchSnapshotRequest::default()),
        },
    }
}

fn response(random: &mut Random) -> Result<Response, ErrorCode> {
    let leader = Voter { id: NodeId(node(random)), directory: Uuid::ZERO, endpoints: Vec::new() };
    let standing = Standing { epoch: epoch(random), leader: Some(leader).filter(|_| random.below(2) == 0) };
    let error = ErrorCode::ALL[random.below(ErrorCode::ALL.len() as u64) as usize];
    let error = if random.below(2) == 0 { ErrorCode::None } else { error };
    let bytes = Bytes::from(vec![random.below(256) as u8; random.below(100) as usize]);
    Ok(match random.below(8) {
        0 => return Err(error),
        1 => Response::Vote(VoteResponse::default()),
        2 => Response::Vote(wire::vote_response(&standing, Ok(random.below(2) == 0))),
        3 => Response::BeginQuorumEpoch(wire::begin_response(&standing, error)),
        4 => Response::EndQuorumEpoch(wire::end_response(&standing, error)),
        5 => Response::Fetch(FetchResponse::default()),
        6 => {
            let fit = match random.below(3) {
                0 => Fit::Prefix,
                1 => Fit::Diverging(end(random)),
                _ => Fit::Snapshot(SnapshotId { end: Offset(number(random)), epoch: epoch(random) }),
            };
            let (high_watermark, log_start) = (Some(Offset(number(random))), Offset(number(random)));
            let answer = FetchAnswer { error, high_watermark, log_start, fit };
            let mut response = wire::fetch_response(&standing, &answer);
            response.responses[0].partitions[0].records = Records::Bytes(bytes);
            Response::Fetch(response)
        }
        _ => Response::FetchSnapshot(FetchSnapshotResponse::default()),
    })
}

#[test]
fn nothing_that_a_peer_sends_breaks_the_machine() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = Random::from_seed(seed);
        let mut raft = voter_of_three(1);
        let mut correlations = 1;
        for step in 0..200 {
            let now = Millis(step * 40);
            let event = match random.below(3) {
                0 => Event::Tick,
                1 => Event::Request { reply_to: ReplyTo(step as u64), request: request(&mut random) },
                _ => Event::Response { correlation: 1 + random.below(correlations), response: response(&mut random) },
            };
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                for effect in raft.step(now, event) {
                    match effect {
                        Effect::Append(bytes) | Effect::AppendFetched(bytes) => {
                            let batch = records::decode(&bytes).expect("checked before").remove(0);
                            let (epoch, base, end) = (batch.epoch, batch.base, batch.end());
                            events.push(Event::Appended { epoch, base, end, voters: None });
                        }
                        Effect::Flush => events.push(Event::Flushed { end: raft.log_end() }),
                        Effect::Truncate { end } => events.push(Event::Truncated { end }),
                        Effect::Send { correlation, .. } => correlations = correlation,
                        _ => {}
                    }
                }
                raft.check();
            }
        }
    }
}
