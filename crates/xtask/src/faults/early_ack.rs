//! The planted fault: a door in front of the server which acknowledges every Produce by itself, before the server has
//! seen it, and hands the request on later. A kill in between loses what was acknowledged, and the checks must say so.
//! Everything else passes through unchanged.

use super::wire::{self, Reader, Writer};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much later the server sees what was acknowledged already.
const DELAY: Duration = Duration::from_millis(400);
/// The first flexible version of Produce, and the first that names topics by id.
const FLEXIBLE: i16 = 9;
const TOPIC_IDS: i16 = 13;

pub(super) struct EarlyAck {
    /// Where clients connect.
    pub(super) address: String,
    upstream: Arc<Mutex<String>>,
}

/// What the door remembers across connections: the next offset of each topic (as named in requests) and partition.
type NextOffsets = Arc<Mutex<BTreeMap<(Vec<u8>, i32), i64>>>;

impl EarlyAck {
    pub(super) fn listen() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("early-ack: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("early-ack: {error}"))?.to_string();
        let upstream = Arc::new(Mutex::new(String::new()));
        let target = Arc::clone(&upstream);
        std::thread::spawn(move || {
            let offsets = NextOffsets::default();
            for client in listener.incoming().map_while(Result::ok) {
                let to = target.lock().expect("no holder panics").clone();
                // A server that was just killed refuses: the client sees its connection close and comes again.
                if let Ok(server) = TcpStream::connect(to) {
                    let _ = serve(client, server, Arc::clone(&offsets));
                }
            }
        });
        Ok(Self { address, upstream })
    }

    pub(super) fn forward_to(&self, address: &str) {
        address.clone_into(&mut self.upstream.lock().expect("no holder panics"));
    }
}

/// Starts three threads for one connection: requests in, requests on after their delay, answers back.
fn serve(client: TcpStream, server: TcpStream, offsets: NextOffsets) -> io::Result<()> {
    let answered = Arc::new(Mutex::new(Vec::<i32>::new()));
    let (queue, delayed) = mpsc::channel::<(Instant, Vec<u8>)>();
    let (mut requests, mut onward) = (client.try_clone()?, server.try_clone()?);
    let (mut replies, back) = (server, Arc::new(Mutex::new(client)));

    let (early, own) = (Arc::clone(&back), Arc::clone(&answered));
    std::thread::spawn(move || {
        while let Ok(frame) = read_frame(&mut requests) {
            let mut due = Instant::now();
            if let Some((correlation, answer)) = acknowledge(&frame, &offsets) {
                own.lock().expect("no holder panics").push(correlation);
                due += DELAY;
                if early.lock().expect("no holder panics").write_all(&answer).is_err() {
                    return;
                }
            }
            if queue.send((due, frame)).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, frame) in delayed {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if onward.write_all(&Writer(frame).framed()).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok(frame) = read_frame(&mut replies) {
            let correlation = Reader(&frame).i32();
            let mut own = answered.lock().expect("no holder panics");
            if let Some(at) = own.iter().position(|one| Some(*one) == correlation) {
                own.remove(at);
                continue;
            }
            drop(own);
            if back.lock().expect("no holder panics").write_all(&Writer(frame).framed()).is_err() {
                return;
            }
        }
        let _ = back.lock().expect("no holder panics").shutdown(std::net::Shutdown::Both);
    });
    Ok(())
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// The correlation id and a framed answer without errors, if the frame is a flexible Produce.
fn acknowledge(frame: &[u8], offsets: &NextOffsets) -> Option<(i32, Vec<u8>)> {
    let mut reader = Reader(frame);
    let (key, version, correlation) = (reader.i16()?, reader.i16()?, reader.i32()?);
    if key != wire::PRODUCE || version < FLEXIBLE {
        return None;
    }
    reader.string()?;
    reader.tags()?;
    reader.compact()?;
    reader.take(2 + 4)?;
    let topics = reader.varint()?;
    let mut answer = Writer::default().i32(correlation).varint(0).varint(topics);
    for _ in 1..topics {
        let topic = if version >= TOPIC_IDS { reader.take(16)? } else { reader.compact()? };
        let named = if version >= TOPIC_IDS { Writer::default() } else { length_of(topic) };
        let partitions = reader.varint()?;
        answer = answer.bytes(&named.0).bytes(topic).varint(partitions);
        for _ in 1..partitions {
            let partition = reader.i32()?;
            let count = records(reader.compact()?)?;
            reader.tags()?;
            let mut offsets = offsets.lock().expect("no holder panics");
            let next = offsets.entry((topic.to_vec(), partition)).or_default();
            answer = answer.i32(partition).i16(0).i64(*next).i64(-1).i64(0).varint(1).varint(0).varint(0);
            *next += i64::from(count);
        }
        reader.tags()?;
        answer = answer.varint(0);
    }
    Some((correlation, answer.i32(0).varint(0).framed()))
}

fn length_of(topic: &[u8]) -> Writer {
    Writer::default().varint(u32::try_from(topic.len() + 1).expect("a topic's name is short"))
}

/// The number of records that a batch says it holds.
fn records(batch: &[u8]) -> Option<i32> {
    let mut reader = Reader(batch.get(57..)?);
    reader.i32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_produce_is_acknowledged_with_rising_offsets_and_nothing_else_is() {
        let batch = wire::batch(b"x");
        let length = u32::try_from(batch.len() + 1).unwrap();
        let head = Writer::default().i16(wire::PRODUCE).i16(10).i32(77).string("c").varint(0);
        let topic = head.varint(0).i16(-1).i32(1000).varint(2).varint(4).bytes(b"abc").varint(2).i32(5);
        let frame = topic.varint(length).bytes(&batch).varint(0).varint(0).varint(0).0;
        let offsets = NextOffsets::default();
        let expected = |offset| {
            let head = Writer::default().i32(77).varint(0).varint(2).varint(4).bytes(b"abc").varint(2).i32(5);
            let partition = head.i16(0).i64(offset).i64(-1).i64(0).varint(1).varint(0).varint(0);
            partition.varint(0).i32(0).varint(0).framed()
        };
        assert_eq!(acknowledge(&frame, &offsets), Some((77, expected(0))));
        assert_eq!(acknowledge(&frame, &offsets), Some((77, expected(1))));
        let other = Writer::default().i16(wire::METADATA).i16(10).i32(78).string("c").varint(0).0;
        assert_eq!(acknowledge(&other, &offsets), None);
    }
}
