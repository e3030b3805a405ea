//! An honest client in the middle of an attack: it writes records and reads them back, and fails when an answer is
//! wrong or late.

use super::wire::{self, Reader, Writer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An honest client that waits longer than this is not served.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const TOPIC: &str = "canary";

pub(super) struct Canary {
    address: String,
    connection: TcpStream,
    correlation: i32,
    /// The longest that any answer took.
    pub(super) worst: Duration,
    pub(super) rounds: u64,
}

impl Canary {
    /// Connects and has its topic created.
    pub(super) fn settle(address: &str) -> Result<Self, String> {
        let connection = connect(address)?;
        let mut canary =
            Self { address: address.to_owned(), connection, correlation: 0, worst: Duration::ZERO, rounds: 0 };
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

    /// The body of the answer, its correlation id checked and taken off.
    fn ask(&mut self, key: i16, version: i16, body: Writer) -> Result<Vec<u8>, String> {
        self.correlation += 1;
        let fail = |error| format!("the canary was not served (request {key}): {error}");
        let started = Instant::now();
        self.connection.write_all(&wire::request(key, version, self.correlation, body)).map_err(fail)?;
        let mut length = [0; 4];
        self.connection.read_exact(&mut length).map_err(fail)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| "an answer has a negative length")?;
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer).map_err(fail)?;
        self.worst = self.worst.max(started.elapsed());
        if Reader(&answer).i32() != Some(self.correlation) {
            return Err("the canary got another one's answer".to_owned());
        }
        Ok(answer.split_off(4))
    }
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let fail = |error| format!("the canary could not connect: {error}");
    let connection = TcpStream::connect(address).map_err(fail)?;
    connection.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(fail)?;
    connection.set_write_timeout(Some(ANSWER_TIME_MAX)).map_err(fail)?;
    connection.set_nodelay(true).map_err(fail)?;
    Ok(connection)
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
