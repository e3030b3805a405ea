//! The clients that are to be served: on each core one that writes, one that reads, and one that speaks to a group's
//! coordinator, each over its own connection, one request at a time and at a fixed pace. What is judged is the longest
//! wait: whoever is stopped for a second asks nothing meanwhile, so shares and medians flatter the server.

use super::super::line::Line;
use super::super::wire::{self, HEARTBEAT, Reader, Writer};
use super::stage::{GROUP, HONEST};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests of one client are so far apart, unless it has to wait longer.
const PACE: Duration = Duration::from_millis(20);
/// Whoever waits longer is not served at all.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections are given to the cores in turn, so that consecutive ones are on different cores.
const CORES: usize = 2;
const VALUE_BYTES: usize = 1024;
/// After an attack the server has this long to forget it.
const REST: Duration = Duration::from_secs(10);
/// An answer within this time says that it has.
const RESTED: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    Heartbeat,
}

const KINDS: [Kind; 3] = [Kind::Write, Kind::Read, Kind::Heartbeat];

struct Client {
    kind: Kind,
    line: Line,
    batch: Vec<u8>,
}

pub(super) struct Honest {
    clients: Vec<Client>,
}

/// How long the clients of each kind waited.
pub(super) struct Waits(Vec<(Kind, Vec<Duration>)>);

impl Honest {
    pub(super) fn settle(address: &str) -> Result<Honest, String> {
        let batch = wire::batch(&[b'h'; VALUE_BYTES]);
        let kinds = KINDS.into_iter().flat_map(|kind| [kind; CORES]);
        let clients = kinds.map(|kind| Ok(Client { kind, line: Line::open(address, PATIENCE)?, batch: batch.clone() }));
        let mut clients = clients.collect::<Result<Vec<Client>, String>>()?;
        clients.iter_mut().try_for_each(Client::ask)?;
        Ok(Honest { clients })
    }

    /// Has the clients go on while something else is done.
    pub(super) fn go_on_beside(&mut self, other: impl FnOnce()) -> Result<Waits, String> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let going = |client| {
                let over = &over;
                scope.spawn(move || Client::go_on(client, over))
            };
            let going: Vec<_> = self.clients.iter_mut().map(going).collect();
            other();
            over.store(true, Ordering::Relaxed);
            let mut waits = Waits(KINDS.map(|kind| (kind, Vec::new())).into());
            for client in going {
                let (kind, waited) = client.join().map_err(|_| "an honest client panicked")??;
                waits.0.iter_mut().filter(|(known, _)| *known == kind).for_each(|(_, all)| all.extend(&waited));
            }
            waits.0.iter_mut().for_each(|(_, all)| all.sort_unstable());
            Ok(waits)
        })
    }

    /// Waits until every client is answered at once again: what one attack leaves behind is not the next one's.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        let until = Instant::now() + REST;
        for client in &mut self.clients {
            loop {
                let asked = Instant::now();
                client.ask()?;
                if asked.elapsed() < RESTED || asked > until {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Client {
    fn go_on(&mut self, over: &AtomicBool) -> Result<(Kind, Vec<Duration>), String> {
        let mut waited = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            self.ask()?;
            waited.push(asked.elapsed());
            std::thread::sleep(PACE.saturating_sub(asked.elapsed()));
        }
        Ok((self.kind, waited))
    }

    fn ask(&mut self) -> Result<(), String> {
        match self.kind {
            Kind::Write => {
                let length = i32::try_from(self.batch.len()).expect("short");
                let topic = Writer::default().i16(-1).i16(1).i32(5000).i32(1).string(HONEST);
                let answer = self.line.ask(wire::PRODUCE, 7, topic.i32(1).i32(0).i32(length).bytes(&self.batch))?;
                written(&answer).ok_or_else(|| "an honest record was refused".to_owned())
            }
            Kind::Read => {
                let session = Writer::default().i32(-1).i32(1000).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
                let partition = session.i32(1).string(HONEST).i32(1).i32(0).i64(0).i64(-1).i32(4096);
                let answer = self.line.ask(wire::FETCH, 7, partition.i32(0))?;
                let has_record = answer.windows(8).any(|window| window == b"hhhhhhhh");
                has_record.then_some(()).ok_or_else(|| "an honest reader got no record".to_owned())
            }
            Kind::Heartbeat => {
                let member = Writer::default().string(GROUP).i32(1).string("nobody");
                let answer = self.line.ask(HEARTBEAT, 2, member)?;
                // UNKNOWN_MEMBER_ID: the coordinator was asked.
                let error = Reader(&answer[4.min(answer.len())..]).i16();
                (error == Some(25)).then_some(()).ok_or_else(|| format!("a heartbeat was answered {error:?}"))
            }
        }
    }
}

/// Whether the only partition of a Produce answer, version 7, was written.
fn written(answer: &[u8]) -> Option<()> {
    let mut reader = Reader(answer);
    reader.i32()?;
    reader.string()?;
    reader.i32()?;
    reader.i32()?;
    (reader.i16()? == 0).then_some(())
}

impl Waits {
    pub(super) fn longest(&self) -> Duration {
        self.0.iter().filter_map(|(_, all)| all.last()).copied().max().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, all)) in self.0.iter().enumerate() {
            let part = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
            let ms = |percent| part(percent).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3);
            let name = match kind {
                Kind::Write => "write",
                Kind::Read => "read",
                Kind::Heartbeat => "heartbeat",
            };
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{name} {:.1} / {:.1} / {:.1} ms", ms(50), ms(99), ms(100))?;
        }
        f.write_str(" (half, 99 %, all within)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_by_their_parts_and_judged_by_the_longest() {
        let waits = Waits(vec![(Kind::Read, (1..=200).map(Duration::from_millis).collect())]);
        assert_eq!(waits.longest(), Duration::from_millis(200));
        assert!(waits.to_string().starts_with("read 101.0 / 199.0 / 200.0 ms"), "{waits}");
    }
}
