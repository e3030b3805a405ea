//! Clients that mean no good, while an honest one goes on: nothing that arrives may end the server, grow its memory
//! beyond a bound, keep it from serving others, or fill its log.

use super::canary::Canary;
use super::offenders;
use super::wire::{self, Writer};
use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most that the server's resident memory may reach at any time.
const MEMORY_MIB_MAX: u64 = 384;
const CONNECTIONS: usize = 10_000;
/// Source addresses 127.0.1.1 and following.
const SOURCES: u8 = 8;
/// How long an attacker waits for an answer that may never come.
const PATIENCE: Duration = Duration::from_millis(200);

/// The budget of requests: small beside what the attackers ask for.
const BUDGET: &str = "memory.request.bytes=67108864";
/// Clients that ask for large answers.
const SLOW: u8 = 30;

type Attack = (&'static str, fn(&Attacker) -> Result<(), String>);

const ATTACKS: [Attack; 7] = [
    ("random bytes", random_bytes),
    ("real requests with changed bytes", mutated_requests),
    ("absurd lengths", absurd_lengths),
    ("half-sent frames", half_sent_frames),
    ("clients that never read", slow_readers),
    ("large answers, taken slowly", large_answers),
    ("connections opened and dropped", flood),
];

struct Attacker {
    address: SocketAddr,
    connections: usize,
}

pub(crate) fn hostile(arguments: &[&str]) -> Result<(), String> {
    let connections = match arguments {
        [] => CONNECTIONS,
        ["--connections", number] => number.parse().map_err(|_| "--connections wants a number")?,
        _ => return Err("faults hostile [--connections N]".to_owned()),
    };
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("faults/hostile"))?.option(BUDGET);
    let mut node = Node::start(&plan)?;
    counts::announce("faults-hostile");
    let address = node.address.parse().map_err(|_| format!("the server listens on {}", node.address))?;
    let attacker = Attacker { address, connections };
    let (mut passed, mut failed) = (0, 0);
    for (name, attack) in ATTACKS {
        match under_attack(&mut node, &plan, &attacker, attack) {
            Ok(said) => {
                println!("ok     {name}: {said}");
                passed += 1;
            }
            Err(fault) => {
                println!("FAILED {name}: {fault}");
                failed += 1;
            }
        }
    }
    let stopped = node.stop();
    failed += usize::from(stopped.is_err());
    println!("{passed} passed, {failed} failed");
    if failed > 0 { Err(format!("the server does not stand {failed} attacks; {stopped:?}")) } else { Ok(()) }
}

/// Runs one attack beside the honest client, then asks what it did to the server.
fn under_attack(
    node: &mut Node,
    plan: &Plan,
    attacker: &Attacker,
    attack: fn(&Attacker) -> Result<(), String>,
) -> Result<String, String> {
    let read_log = || std::fs::read_to_string(&plan.log).map_err(|error| format!("the server's log: {error}"));
    let log_before = read_log()?.len();
    let mut canary = Canary::settle(&node.address)?;
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let honest = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            canary.round()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        // Once more after the attack: what it left behind must not be in the way.
        canary.round()?;
        Ok::<Canary, String>(canary)
    });
    let started = Instant::now();
    let attacked = attack(attacker);
    over.store(true, Ordering::Relaxed);
    let canary = honest.join().map_err(|_| "the honest client panicked")?;
    node.check_running()?;
    attacked?;
    let canary = canary?;

    let peak = node.memory("VmHWM")? >> 20;
    if peak > MEMORY_MIB_MAX {
        return Err(format!("resident memory reached {peak} MiB, more than {MEMORY_MIB_MAX}"));
    }
    let sources: Vec<String> = (0..SOURCES).map(|number| source(number).to_string()).collect();
    let log = read_log()?;
    if let Some(fault) = offenders::faults(&log[log_before..], &sources, started.elapsed()).first() {
        return Err(fault.clone());
    }
    let (rounds, worst) = (canary.rounds, canary.worst.as_millis());
    Ok(format!("{rounds} honest rounds, the slowest answer after {worst} ms, resident at most {peak} MiB"))
}

fn source(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1 + number % SOURCES))
}

impl Attacker {
    /// A connection from the given of our source addresses.
    fn connect(&self, number: u8) -> Result<TcpStream, String> {
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(source(number), 0).into())?;
            socket.connect_timeout(&self.address.into(), Duration::from_secs(10))?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        connect().map_err(|error: std::io::Error| format!("an attacker could not connect: {error}"))
    }

    /// Sends on a new connection and waits a little; that the server closes it is its good right.
    fn send(&self, number: u8, bytes: &[u8]) -> Result<(), String> {
        let mut stream = self.connect(number)?;
        let _ = stream.write_all(bytes);
        stream.set_read_timeout(Some(Duration::from_millis(2))).map_err(|error| error.to_string())?;
        let _ = stream.read(&mut [0; 4096]);
        Ok(())
    }
}

/// Small numbers from a seed that is the same in every run, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_le_bytes()[3]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() >> 16).unwrap_or(0) % bound
    }
}

fn random_bytes(attacker: &Attacker) -> Result<(), String> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for number in 0..1500 {
        let length = 1 + dice.below(600);
        let noise: Vec<u8> = (0..length).map(|_| dice.byte()).collect();
        // Half of them with an honest length in front, so that the noise reaches the decoders.
        let bytes = if number % 2 == 0 { Writer(noise).framed() } else { noise };
        attacker.send(dice.byte(), &bytes)?;
    }
    Ok(())
}

/// One honest request per decoder that is worth deceiving.
fn honest_requests() -> Vec<Vec<u8>> {
    let batch = wire::batch(b"value");
    let length = i32::try_from(batch.len()).expect("short");
    let produce =
        Writer::default().i16(-1).i16(1).i32(100).i32(1).string("canary").i32(1).i32(0).i32(length).bytes(&batch);
    let fetch = Writer::default().i32(-1).i32(1).i32(1).i32(1000).i8(0).i32(0).i32(-1).i32(1).string("canary");
    let fetch = fetch.i32(1).i32(0).i64(0).i64(-1).i32(1000).i32(0);
    let offsets = Writer::default().i32(-1).i8(0).i32(1).string("canary").i32(1).i32(0).i64(-1);
    let create = Writer::default().i32(1).string("not valid!").i32(1).i16(1).i32(0).i32(0).i32(100).i8(1);
    let join = Writer::default().string("group").i32(10_000).i32(100).string("").string("consumer").i32(1);
    let join = join.string("range").i32(4).bytes(&[0; 4]);
    vec![
        wire::request(wire::PRODUCE, 7, 1, produce),
        wire::request(wire::FETCH, 7, 2, fetch),
        wire::request(wire::LIST_OFFSETS, 2, 3, offsets),
        wire::request(wire::METADATA, 4, 4, Writer::default().i32(1).string("canary").i8(0)),
        wire::request(wire::FIND_COORDINATOR, 1, 5, Writer::default().string("group").i8(0)),
        wire::request(wire::JOIN_GROUP, 2, 6, join),
        wire::request(wire::API_VERSIONS, 0, 7, Writer::default()),
        wire::request(wire::CREATE_TOPICS, 2, 8, create),
    ]
}

fn mutated_requests(attacker: &Attacker) -> Result<(), String> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let honest = honest_requests();
    for _ in 0..3000 {
        let mut frame = honest[dice.below(honest.len())].clone();
        for _ in 0..=dice.below(4) {
            // The length in front stays honest: the decoders behind it are what is to be deceived.
            let at = 4 + dice.below(frame.len() - 4);
            frame[at] = if dice.below(2) == 0 { dice.byte() } else { [0, 0xff, 0x7f, 0x80][dice.below(4)] };
        }
        attacker.send(dice.byte(), &frame)?;
    }
    Ok(())
}

fn absurd_lengths(attacker: &Attacker) -> Result<(), String> {
    let mut dice = Dice(1);
    for length in [-1, i32::MIN, i32::MAX, 0, 1, 3, 100 << 20, (100 << 20) + 1, 1 << 30] {
        for _ in 0..40 {
            let start = Writer::default().i32(length).i16(wire::METADATA).i16(4).i32(1).string("x");
            attacker.send(dice.byte(), &start.0)?;
        }
    }
    // Frames of an honest length that claim to hold arrays, strings and batches of billions.
    for claim in [i32::MAX, i32::MIN, -2, 1 << 24] {
        let session = || Writer::default().i32(-1).i32(1).i32(1).i32(i32::MAX).i8(0).i32(0).i32(-1);
        let produce = || Writer::default().i16(-1).i16(1).i32(100);
        for frame in [
            wire::request(wire::METADATA, 4, 1, Writer::default().i32(claim)),
            wire::request(wire::FETCH, 7, 1, session().i32(claim)),
            wire::request(wire::PRODUCE, 7, 1, produce().i32(1).string("canary").i32(claim)),
            wire::request(wire::PRODUCE, 7, 1, produce().i32(1).string("canary").i32(1).i32(0).i32(claim)),
            wire::request(wire::CREATE_TOPICS, 2, 1, Writer::default().i32(1).string("t").i32(claim).i16(1)),
            wire::request(wire::METADATA, 12, 1, Writer::default().bytes(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        ] {
            for _ in 0..10 {
                attacker.send(dice.byte(), &frame)?;
            }
        }
    }
    Ok(())
}

fn half_sent_frames(attacker: &Attacker) -> Result<(), String> {
    let honest = honest_requests();
    let mut held = Vec::new();
    for number in 0..=u8::MAX {
        for frame in honest.iter().take(4) {
            let mut stream = attacker.connect(number)?;
            let _ = stream.write_all(&frame[..frame.len() / 2]);
            held.push(stream);
        }
    }
    // A frame of 90 MiB is promised and trickles in: promises must not cost memory.
    for number in 0..100 {
        let mut stream = attacker.connect(number)?;
        let _ = stream.write_all(&Writer::default().i32(90 << 20).bytes(&[0; 1000]).0);
        held.push(stream);
    }
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        for stream in &mut held {
            let _ = stream.write_all(&[0]);
        }
    }
    Ok(())
}

/// Asks for much, over and over, and never takes an answer.
fn slow_readers(attacker: &Attacker) -> Result<(), String> {
    let metadata = wire::request(wire::METADATA, 4, 1, Writer::default().i32(-1).i8(0));
    let session = Writer::default().i32(-1).i32(0).i32(0).i32(50 << 20).i8(0).i32(0).i32(-1);
    let fetch = session.i32(1).string("canary").i32(1).i32(0).i64(0).i64(-1).i32(50 << 20).i32(0);
    let fetch = wire::request(wire::FETCH, 7, 1, fetch);
    let mut held = Vec::new();
    for number in 0..200 {
        let mut stream = attacker.connect(number)?;
        let request = if number % 2 == 0 { &metadata } else { &fetch };
        stream.set_write_timeout(Some(Duration::from_millis(5))).map_err(|error| error.to_string())?;
        // Until the server stops to read, which is what it should do.
        for _ in 0..2000 {
            if stream.write_all(request).is_err() {
                break;
            }
        }
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

fn large_answers(attacker: &Attacker) -> Result<(), String> {
    super::large_answers::set(&attacker.address.to_string())?;
    let streams = (0..SLOW).map(|number| attacker.connect(number)).collect::<Result<Vec<_>, _>>()?;
    super::large_answers::take_slowly(streams);
    Ok(())
}

fn flood(attacker: &Attacker) -> Result<(), String> {
    let greeting = wire::request(wire::API_VERSIONS, 0, 1, Writer::default());
    let mut held = Vec::with_capacity(attacker.connections);
    for number in 0..attacker.connections {
        let mut stream = attacker.connect(number.to_le_bytes()[0])?;
        if number % 2 == 0 {
            let _ = stream.write_all(&greeting);
        }
        held.push(stream);
    }
    // All are open at once; then all are dropped, half of them with an answer that nobody has read: a reset.
    drop(held);
    std::thread::sleep(Duration::from_secs(1));
    let again = attacker.connect(0);
    again.map(drop)
}
