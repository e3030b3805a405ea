//! Clients that want everything: each attack is some connections that send the same requests over and over, as fast as
//! the server takes them.

use super::super::wire::{self, Writer, flexible_request, request};
use super::stage::{HONEST, LARGE, WIDE, WIDE_PARTITIONS};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 30;
/// Partitions, or keys, that one request names.
const NAMED: i32 = 5000;
const KEYS: usize = 20_000;
/// Small requests that are sent at once.
const PIPELINED: usize = 10_000;
/// How long a late reader waits before its first answer.
const LATE: Duration = Duration::from_secs(1);
/// After this long without a byte, an attacker looks whether its time is over.
const TICK: Duration = Duration::from_millis(100);

/// When an attacker takes its answers.
#[derive(Debug, Clone, Copy)]
enum Reads {
    AtOnce,
    Late,
    Never,
}

pub(super) struct Attack {
    pub(super) name: &'static str,
    requests: fn() -> Vec<u8>,
    reads: Reads,
}

pub(super) const ATTACKS: [Attack; 10] = [
    Attack { name: "markers for 2 000 partitions a request", requests: markers, reads: Reads::AtOnce },
    Attack { name: "coordinators of 20 000 keys a request", requests: coordinators, reads: Reads::AtOnce },
    Attack { name: "small requests, answers read at once", requests: small, reads: Reads::AtOnce },
    Attack { name: "small requests, answers read late", requests: small, reads: Reads::Late },
    Attack { name: "small records, 10 000 requests at once", requests: records, reads: Reads::AtOnce },
    Attack { name: "small requests with large answers", requests: large_answers, reads: Reads::AtOnce },
    Attack { name: "a costly pattern over transactional ids", requests: pattern, reads: Reads::AtOnce },
    Attack { name: "fetches of 100 MB", requests: fetches, reads: Reads::AtOnce },
    Attack { name: "5 000 partitions a request", requests: partitions, reads: Reads::AtOnce },
    Attack { name: "readers that never read", requests: fetches, reads: Reads::Never },
];

impl Attack {
    /// Goes on for so long. Whatever becomes of the attackers is their own affair.
    pub(super) fn run(&self, address: &str, duration: Duration) {
        let (requests, over) = ((self.requests)(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                let Ok(stream) = connect(address) else { continue };
                let (over, requests) = (&over, &requests);
                if let Ok(answers) = stream.try_clone() {
                    scope.spawn(move || read(answers, self.reads, over));
                }
                scope.spawn(move || write(stream, requests, over));
            }
            std::thread::sleep(duration);
            over.store(true, Ordering::Relaxed);
        });
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(TICK))?;
    Ok(stream)
}

fn write(mut stream: TcpStream, requests: &[u8], over: &AtomicBool) {
    let mut left = requests;
    while !over.load(Ordering::Relaxed) {
        match stream.write(left) {
            Ok(written) => left = &left[written..],
            Err(error) if is_timeout(&error) => {}
            Err(_) => return,
        }
        if left.is_empty() {
            left = requests;
        }
    }
}

fn read(mut stream: TcpStream, reads: Reads, over: &AtomicBool) {
    match reads {
        Reads::Never => return,
        Reads::Late => std::thread::sleep(LATE),
        Reads::AtOnce => {}
    }
    let mut buffer = vec![0; 256 * 1024];
    while !over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => return,
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Aborts a transaction that never was, in every partition of the wide topic.
fn markers() -> Vec<u8> {
    let count = usize::try_from(WIDE_PARTITIONS).expect("positive");
    let marker = Writer::default().compact_count(1).i64(1_000_000).i16(0).i8(0);
    let topic = marker.compact_count(1).compact_string(WIDE).compact_count(count);
    let topic = (0..WIDE_PARTITIONS).fold(topic, Writer::i32).varint(0);
    let body = topic.i32(0).varint(0).varint(0);
    flexible_request(wire::WRITE_TXN_MARKERS, 1, 1, body)
}

fn coordinators() -> Vec<u8> {
    let keys = Writer::default().i8(0).compact_count(KEYS);
    let keys = (0..KEYS).fold(keys, |keys, number| keys.compact_string(&format!("group-{number}")));
    flexible_request(wire::FIND_COORDINATOR, 4, 1, keys.varint(0))
}

fn small() -> Vec<u8> {
    let described = Writer::default().compact_count(1).compact_string(HONEST).varint(0);
    let described = described.i32(10).i8(-1).varint(0);
    let kinds = [
        request(wire::API_VERSIONS, 0, 1, Writer::default()),
        flexible_request(wire::DESCRIBE_CLUSTER, 0, 1, Writer::default().i8(0).varint(0)),
        flexible_request(wire::DESCRIBE_TOPIC_PARTITIONS, 0, 1, described),
        request(wire::METADATA, 4, 1, Writer::default().i32(1).string(HONEST).i8(0)),
        // A kind of coordinator that there is not: as short an answer as there is.
        request(wire::FIND_COORDINATOR, 1, 1, Writer::default().string("x").i8(9)),
    ];
    kinds.concat().repeat(PIPELINED / kinds.len())
}

/// Each record in a request of its own.
fn records() -> Vec<u8> {
    let batch = wire::batch(b"flood");
    let length = i32::try_from(batch.len()).expect("short");
    let topic = Writer::default().i16(-1).i16(1).i32(5000).i32(1).string(WIDE);
    request(wire::PRODUCE, 7, 1, topic.i32(1).i32(0).i32(length).bytes(&batch)).repeat(PIPELINED)
}

/// The wide topic, described again and again.
fn large_answers() -> Vec<u8> {
    let described = Writer::default().compact_count(1).compact_string(WIDE).varint(0);
    let described = described.i32(2000).i8(-1).varint(0);
    let kinds = [
        flexible_request(wire::DESCRIBE_TOPIC_PARTITIONS, 0, 1, described),
        request(wire::METADATA, 4, 1, Writer::default().i32(-1).i8(0)),
    ];
    kinds.concat().repeat(1000)
}

/// Linear in the length of an id, as all are, with very many states.
fn pattern() -> Vec<u8> {
    let body = Writer::default().compact_count(0).compact_count(0).i64(-1);
    let body = body.compact_string("(?:[01]*1[01]{0,60}0){12}2").varint(0);
    flexible_request(wire::LIST_TRANSACTIONS, 2, 1, body).repeat(100)
}

fn fetches() -> Vec<u8> {
    let session = Writer::default().i32(-1).i32(0).i32(1).i32(100 << 20).i8(0).i32(0).i32(-1);
    let partition = session.i32(1).string(LARGE).i32(1).i32(0).i64(0).i64(-1).i32(100 << 20);
    request(wire::FETCH, 7, 1, partition.i32(0)).repeat(100)
}

/// Every request that names partitions, with more of them than there are.
fn partitions() -> Vec<u8> {
    let all = |start: Writer, each: fn(Writer, i32) -> Writer| (0..NAMED).fold(start.string(WIDE).i32(NAMED), each);
    let produced = all(Writer::default().i16(-1).i16(1).i32(5000).i32(1), |body, index| {
        let batch = wire::batch(b"wide");
        body.i32(index).i32(i32::try_from(batch.len()).expect("short")).bytes(&batch)
    });
    let fetched =
        all(Writer::default().i32(-1).i32(0).i32(0).i32(1 << 20).i8(0).i32(0).i32(-1).i32(1), |body, index| {
            body.i32(index).i64(0).i64(-1).i32(1 << 20)
        });
    let listed = all(Writer::default().i32(-1).i8(0).i32(1), |body, index| body.i32(index).i64(-1));
    let ended = all(Writer::default().i32(-1).i32(1), |body, index| body.i32(index).i32(-1).i32(0));
    [
        request(wire::PRODUCE, 7, 1, produced),
        request(wire::FETCH, 7, 1, fetched.i32(0)),
        request(wire::LIST_OFFSETS, 2, 1, listed),
        request(wire::OFFSET_FOR_LEADER_EPOCH, 3, 1, ended),
    ]
    .concat()
}
