//! An honest client in the middle of an attack: it writes records and reads them back, and fails when an answer is
//! wrong or late.

use super::line::Line;
use super::wire::{self, Reader, Writer};
use std::time::{Duration, Instant};

/// An honest client that waits longer than this is not served.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const TOPIC: &str = "canary";

pub(super) struct Canary {
    address: String,
    connection: Line,
    /// The longest that any answer took.
    pub(super) worst: Duration,
    pub(super) rounds: u64,
}

impl Canary {
    /// Connects and has its topic created.
    pub(super) fn settle(address: &str) -> Result<Self, String> {
        let connection = connect(address)?;
        let mut canary = Self { address: address.to_owned(), connection, worst: Duration::ZERO, rounds: 0 };
        let until = Instant::now() + ANSWER_TIME_MAX;
        while Instant::now() < until {
            let answer = canary.ask(wire::METADATA, 4, Writer::default().i32(1).string(TOPIC).i8(1))?;
            if topic_error(&answer) == Some(0) {
                return Ok(canary);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the canary's topic was not created".to_owned())
    }

    /// Writes one record, reads it back over the same connection, and greets over a new one.
    pub(super) fn round(&mut self) -> Result<(), String> {
        let value = format!("canary {}", self.rounds);
        let batch = wire::batch(value.as_bytes());
        let length = i32::try_from(batch.len()).expect("short");
        let body = Writer::default().i16(-1).i16(-1).i32(5000).i32(1).string(TOPIC).i32(1).i32(0).i32(length);
        let answer = self.ask(wire::PRODUCE, 7, body.bytes(&batch))?;
        let offset = produced_offset(&answer).ok_or("the canary's record was refused")?;

        let session = Writer::default().i32(-1).i32(1000).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
        let partition = session.i32(1).string(TOPIC).i32(1).i32(0).i64(offset).i64(-1).i32(1 << 20);
        let answer = self.ask(wire::FETCH, 7, partition.i32(0))?;
        if !answer.windows(value.len()).any(|window| window == value.as_bytes()) {
            return Err(format!("the canary's record at offset {offset} did not come back"));
        }
        self.connection = connect(&self.address)?;
        let greeting = self.ask(wire::API_VERSIONS, 0, Writer::default())?;
        if Reader(&greeting).i16() != Some(0) {
            return Err("a new connection was not greeted".to_owned());
        }
        self.rounds += 1;
        Ok(())
    }

    fn ask(&mut self, key: i16, version: i16, body: Writer) -> Result<Vec<u8>, String> {
        let started = Instant::now();
        let answer = self.connection.ask(key, version, body);
        self.worst = self.worst.max(started.elapsed());
        answer.map_err(|error| format!("the canary was not served (request {key}): {error}"))
    }
}

fn connect(address: &str) -> Result<Line, String> {
    Line::open(address, ANSWER_TIME_MAX).map_err(|error| format!("the canary could not connect: {error}"))
}

/// The error of the only topic in a Metadata answer, version 4.
fn topic_error(answer: &[u8]) -> Option<i16> {
    let mut reader = Reader(answer);
    reader.i32()?;
    for _ in 0..reader.i32()? {
        reader.i32()?;
        reader.string()?;
        reader.i32()?;
        reader.string()?;
    }
    reader.string()?;
    reader.i32()?;
    reader.i32()?;
    reader.i16()
}

/// The base offset of the only partition in a Produce answer, version 7.
fn produced_offset(answer: &[u8]) -> Option<i64> {
    let mut reader = Reader(answer);
    reader.i32()?;
    reader.string()?;
    reader.i32()?;
    reader.i32()?;
    if reader.i16()? == 0 { reader.i64() } else { None }
}
