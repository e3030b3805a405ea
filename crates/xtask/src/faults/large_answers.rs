//! Clients that ask for the offsets of very many groups in a few kilobytes, all at the same time, and take the answers
//! slowly. What a node makes of that has to fit its budget of memory.

use super::line::Line;
use super::wire::{self, CREATE_TOPICS, FIND_COORDINATOR, OFFSET_COMMIT, Reader, Writer, flexible_request};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const TOPIC: &str = "wide-offsets";
const PARTITIONS: i32 = 500;
const GROUPS: usize = 400;
/// Said of each offset, so that an answer takes some twelve megabytes.
const METADATA: &str = "forty letters that a client once said of";
/// Requests that each client sends at once.
const REQUESTS: usize = 4;
/// How long the clients take some of their answers.
const SLOWLY: Duration = Duration::from_secs(8);
/// The coordinators have to be there by then.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

/// Commits the offsets that will be asked for.
pub(super) fn set(address: &str) -> Result<(), String> {
    let mut line = Line::open(address, PATIENCE)?;
    let topic = Writer::default().i32(1).string(TOPIC).i32(PARTITIONS).i16(1).i32(0).i32(0);
    line.ask(CREATE_TOPICS, 2, topic.i32(30_000).i8(0))?;
    line.ask(FIND_COORDINATOR, 1, Writer::default().string(&group(0)).i8(0))?;
    let until = Instant::now() + SETTLE_TIME_MAX;
    for number in 0..GROUPS {
        while let Err(error) = committed(&line.ask(OFFSET_COMMIT, 2, commit(&group(number)))?) {
            if Instant::now() > until {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Asks on every stream, then takes a little of each answer now and then. Whoever is cut off stays so.
pub(super) fn take_slowly(mut streams: Vec<TcpStream>) {
    let asked = fetch_all().repeat(REQUESTS);
    for stream in &mut streams {
        let _ = stream.write_all(&asked);
        let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
    }
    let until = Instant::now() + SLOWLY;
    let mut some = vec![0; 64 * 1024];
    while Instant::now() < until {
        for stream in &mut streams {
            let _ = stream.read(&mut some);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn group(number: usize) -> String {
    format!("greedy-{number}")
}

fn commit(group: &str) -> Writer {
    // No generation, no member, retention as the node has it.
    let start = Writer::default().string(group).i32(-1).string("").i64(-1).i32(1).string(TOPIC).i32(PARTITIONS);
    (0..PARTITIONS).fold(start, |body, index| body.i32(index).i64(7).string(METADATA))
}

/// Whether the last partition of the answer to a commit has no error.
fn committed(answer: &[u8]) -> Result<(), String> {
    let error = answer.last_chunk::<2>().and_then(|last| Reader(last).i16());
    if error == Some(0) { Ok(()) } else { Err(format!("a commit was answered {error:?}")) }
}

/// All offsets of all groups.
fn fetch_all() -> Vec<u8> {
    let groups = Writer::default().compact_count(GROUPS);
    // Null for the topics: all of them.
    let groups = (0..GROUPS).fold(groups, |groups, number| groups.compact_string(&group(number)).varint(0).varint(0));
    flexible_request(wire::OFFSET_FETCH, 8, 1, groups.i8(0).varint(0))
}
