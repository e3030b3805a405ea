//! What the server holds before the first attack: topics, a group's coordinator, and transactional ids.

use super::super::line::Line;
use super::super::wire::{self, CREATE_TOPICS, FIND_COORDINATOR, HEARTBEAT, INIT_PRODUCER_ID, Reader, Writer};
use std::time::{Duration, Instant};

/// The topic of the honest clients.
pub(super) const HONEST: &str = "honest";
/// A topic of very many partitions.
pub(super) const WIDE: &str = "wide";
pub(super) const WIDE_PARTITIONS: i32 = 2000;
/// A topic with much to read.
pub(super) const LARGE: &str = "large";
/// A group without members.
pub(super) const GROUP: &str = "honest";
/// Records of the large topic, and their size.
const LARGE_RECORDS: usize = 64;
const LARGE_RECORD_BYTES: usize = 900_000;
const TRANSACTIONAL_IDS: u32 = 2000;
/// The coordinators have to be there by then.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn set(address: &str) -> Result<(), String> {
    let mut line = Line::open(address, PATIENCE)?;
    for (topic, partitions) in [(HONEST, 1), (WIDE, WIDE_PARTITIONS), (LARGE, 1)] {
        let topic = Writer::default().i32(1).string(topic).i32(partitions).i16(1).i32(0);
        // Our records are as old as time itself, and would not be retained.
        let topic = topic.i32(1).string("retention.ms").string("-1");
        line.ask(CREATE_TOPICS, 2, topic.i32(30_000).i8(0))?;
    }
    let batch = wire::batch(&vec![b'l'; LARGE_RECORD_BYTES]);
    let length = i32::try_from(batch.len()).expect("short");
    for _ in 0..LARGE_RECORDS {
        let topic = Writer::default().i16(-1).i16(1).i32(5000).i32(1).string(LARGE);
        line.ask(wire::PRODUCE, 7, topic.i32(1).i32(0).i32(length).bytes(&batch))?;
    }
    let heartbeat = || Writer::default().string(GROUP).i32(1).string("nobody");
    wait_for(&mut line, 0, |line| error_of(&line.ask(HEARTBEAT, 2, heartbeat())?, 25))?;
    wait_for(&mut line, 1, |line| error_of(&line.ask(INIT_PRODUCER_ID, 0, transactional_id(0))?, 0))?;
    for number in 1..TRANSACTIONAL_IDS {
        line.send(INIT_PRODUCER_ID, 0, transactional_id(number))?;
    }
    (1..TRANSACTIONAL_IDS).try_for_each(|_| error_of(&line.receive()?, 0))
}

/// Asks for the coordinator of a group (0) or of a transactional id (1), until it answers as it should.
fn wait_for(line: &mut Line, kind: i8, ask: impl Fn(&mut Line) -> Result<(), String>) -> Result<(), String> {
    let until = Instant::now() + SETTLE_TIME_MAX;
    loop {
        line.ask(FIND_COORDINATOR, 1, Writer::default().string(GROUP).i8(kind))?;
        match ask(line) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}

/// An id of a hundred digits, zeros and ones, which differ from id to id.
fn transactional_id(number: u32) -> Writer {
    let mut digits = number.wrapping_mul(0x9e37_79b9) | 1;
    let id: String = (0..100)
        .map(|_| {
            digits ^= digits << 13;
            digits ^= digits >> 17;
            digits ^= digits << 5;
            if digits & 1 == 0 { '0' } else { '1' }
        })
        .collect();
    Writer::default().string(&id).i32(60_000)
}

/// The error code behind the throttle time.
fn error_of(answer: &[u8], expected: i16) -> Result<(), String> {
    let mut reader = Reader(answer);
    let error = reader.i32().and_then(|_| reader.i16());
    if error == Some(expected) { Ok(()) } else { Err(format!("answered {error:?} and not {expected}")) }
}
