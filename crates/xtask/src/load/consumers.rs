//! Groups that the broker assigns (KIP-848): what a member costs in memory, whether a heartbeat stays cheap in a group of
//! a thousand, and how long partitions have no reader when one of fifty members leaves. All others read on meanwhile.

use super::member::{Line, NONE};
use super::{Report, ms, option, quantile};
use crate::faults::wire::{Reader, Writer};
use crate::node::{self, Node, Plan};
use crate::repository;
use std::time::{Duration, Instant};

const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const METADATA: i16 = 3;
/// Connections that members share: their requests are answered at once.
const LINES: usize = 10;
const PARTITIONS: i32 = 1_000;
const SMALL_GROUP: usize = 10;
const FIFTY: usize = 50;
/// Rounds of heartbeats in which a group must have come to rest.
const ROUNDS_MAX: usize = 60;

const BYTES_PER_MEMBER_MAX: u64 = 6_000;
const BYTES_BESIDES: u64 = 16_000_000;
/// How much dearer a heartbeat may be in the large group than in a small one.
const DEARER_MAX: f64 = 2.0;
/// Assignments are made once a second, and a heartbeat takes the partitions to their new reader.
const WITHOUT_READER_MAX: Duration = Duration::from_secs(8);

/// A member and what it believes.
#[derive(Debug, Clone, Default)]
struct Member {
    id: String,
    epoch: i32,
    owned: Vec<i32>,
}

struct Group {
    name: String,
    topic: [u8; 16],
    members: Vec<Member>,
}

/// `--members N`: of the large group; `--heartbeat-ms N`: how often members of the fifty beat.
pub(crate) fn consumers(arguments: &[&str]) -> Result<(), String> {
    const KNOWN: [&str; 2] = ["--members", "--heartbeat-ms"];
    let number = |name: &str, default: u64| match option(arguments, &KNOWN, name)? {
        Some(text) => text.parse().map_err(|_| format!("{name} {text} is no number")),
        None => Ok(default),
    };
    let members = usize::try_from(number("--members", 1_000)?).map_err(|error| error.to_string())?;
    let beat = Duration::from_millis(number("--heartbeat-ms", 3_000)?);
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("load/consumers"))?;
    let node = Node::start(&plan.option("offsets.topic.replication.factor=1"))?;
    let mut lines = (0..LINES).map(|_| Line::open(&node.address)).collect::<Result<Vec<Line>, String>>()?;
    lines[0].prepare(PARTITIONS)?;
    let topic = topic_id(&mut lines[0])?;
    let group = |name: &str, members: usize| Group { name: name.to_owned(), topic, members: named(members) };
    let mut report = Report::default();

    let mut small = group("small", SMALL_GROUP);
    come_together(&mut lines, &mut small)?;
    let alone = beats_per_second(&mut lines, &mut small, 20_000 / SMALL_GROUP)?;
    let before = node.memory("VmRSS")?;
    let started = Instant::now();
    let mut large = group("large", members);
    come_together(&mut lines, &mut large)?;
    let together = started.elapsed();
    let cost = node.memory("VmRSS")?.saturating_sub(before);
    println!("a group of {members} came together in {:.1} s", together.as_secs_f64());
    report.judge(
        cost <= BYTES_PER_MEMBER_MAX * members as u64 + BYTES_BESIDES,
        &format!("{} bytes per member of a group of {members}", cost / members as u64),
    );
    let crowded = beats_per_second(&mut lines, &mut large, 20_000_usize.div_ceil(members))?;
    report.judge(
        crowded * DEARER_MAX >= alone,
        &format!("{crowded:.0} heartbeats per second in a group of {members}, {alone:.0} in one of {SMALL_GROUP}"),
    );

    let mut fifty = group("fifty", FIFTY);
    come_together(&mut lines, &mut fifty)?;
    let mut spans = without_reader(&mut lines, &mut fifty, beat)?;
    spans.sort();
    let (middle, most) = (quantile(&spans, 0.5), quantile(&spans, 1.0));
    report.judge(
        most <= WITHOUT_READER_MAX,
        &format!(
            "one of {FIFTY} left, heartbeats every {}: its {} partitions had no reader for {} (median), {} at most; the \
             others went on",
            ms(beat),
            spans.len(),
            ms(middle),
            ms(most)
        ),
    );
    node.stop()?;
    report.end("load-consumers")
}

fn named(count: usize) -> Vec<Member> {
    (0..count).map(|number| Member { id: format!("member-{number:05}"), ..Default::default() }).collect()
}

impl Line {
    fn send_beat(&mut self, group: &Group, member: &Member) -> Result<(), String> {
        let joins = member.epoch == 0;
        // The header's tags come first.
        let body = compact(compact(Writer::default().i8(0), &group.name), &member.id).i32(member.epoch);
        let body = body.varint(0).varint(0).i32(if joins { 60_000 } else { -1 });
        let body = if joins { compact(body.varint(2), super::member::TOPIC) } else { body.varint(0) };
        let mut body = body.varint(0).varint(0);
        if member.owned.is_empty() {
            body = body.varint(1);
        } else {
            let count = u32::try_from(member.owned.len()).expect("few") + 1;
            body = body.varint(2).bytes(&group.topic).varint(count);
            body = member.owned.iter().fold(body, |body, partition| body.i32(*partition)).varint(0);
        }
        self.send(CONSUMER_GROUP_HEARTBEAT, 1, body.varint(0))
    }

    /// The error, the epoch, and the assignment if it was told.
    fn receive_beat(&mut self) -> Result<(i16, i32, Option<Vec<i32>>), String> {
        let frame = self.receive()?;
        read_beat(&mut Reader(&frame)).ok_or_else(|| "an answer to a heartbeat that cannot be read".to_owned())
    }
}

fn compact(writer: Writer, text: &str) -> Writer {
    writer.varint(u32::try_from(text.len()).expect("short") + 1).bytes(text.as_bytes())
}

fn read_beat(reader: &mut Reader<'_>) -> Option<(i16, i32, Option<Vec<i32>>)> {
    reader.tags()?;
    reader.i32()?;
    let error = reader.i16()?;
    for _ in 0..2 {
        let bytes = reader.varint()?.saturating_sub(1);
        reader.take(usize::try_from(bytes).ok()?)?;
    }
    let epoch = reader.i32()?;
    reader.i32()?;
    if reader.take(1)? == [0xff] {
        return Some((error, epoch, None));
    }
    let mut partitions = Vec::new();
    for _ in 1..reader.varint()?.max(1) {
        reader.take(16)?;
        for _ in 1..reader.varint()?.max(1) {
            partitions.push(reader.i32()?);
        }
        reader.tags()?;
    }
    Some((error, epoch, Some(partitions)))
}

/// The id of the topic that all groups read.
fn topic_id(line: &mut Line) -> Result<[u8; 16], String> {
    let body = compact(Writer::default().i8(0).varint(2).bytes(&[0; 16]), super::member::TOPIC);
    line.send(METADATA, 12, body.varint(0).i8(0).i8(0).varint(0))?;
    let frame = line.receive()?;
    let mut reader = Reader(&frame);
    let read = |reader: &mut Reader<'_>| {
        reader.tags()?;
        reader.i32()?;
        for _ in 1..reader.varint()? {
            reader.i32()?;
            let host = reader.varint()?.saturating_sub(1);
            reader.take(usize::try_from(host).ok()?)?;
            reader.i32()?;
            let rack = reader.varint()?.saturating_sub(1);
            reader.take(usize::try_from(rack).ok()?)?;
            reader.tags()?;
        }
        let cluster = reader.varint()?.saturating_sub(1);
        reader.take(usize::try_from(cluster).ok()?)?;
        reader.i32()?;
        reader.varint()?;
        reader.i16()?;
        let name = reader.varint()?.saturating_sub(1);
        reader.take(usize::try_from(name).ok()?)?;
        reader.take(16)?.try_into().ok()
    };
    read(&mut reader).ok_or_else(|| "an answer to Metadata that cannot be read".to_owned())
}

/// One heartbeat of each member, the lines filled first and emptied then.
fn beat_all(lines: &mut [Line], group: &mut Group) -> Result<(), String> {
    let count = group.members.len();
    for (at, member) in group.members.iter().enumerate() {
        lines[at % LINES].send_beat(group, member)?;
    }
    for at in 0..count {
        let answer = lines[at % LINES].receive_beat()?;
        take_over(&mut group.members[at], answer)?;
    }
    Ok(())
}

fn take_over(member: &mut Member, answer: (i16, i32, Option<Vec<i32>>)) -> Result<(), String> {
    let (error, epoch, partitions) = answer;
    if error != NONE {
        return Err(format!("a heartbeat of {} is answered {error}", member.id));
    }
    member.epoch = epoch;
    if let Some(partitions) = partitions {
        member.owned = partitions;
    }
    Ok(())
}

/// Lets all join and beat until each has its part and all partitions have a reader.
fn come_together(lines: &mut [Line], group: &mut Group) -> Result<(), String> {
    for _ in 0..ROUNDS_MAX {
        beat_all(lines, group)?;
        let epoch = group.members[0].epoch;
        let shares: Vec<usize> = group.members.iter().map(|member| member.owned.len()).collect();
        let held: usize = shares.iter().sum();
        let is_even = shares.iter().max() <= shares.iter().min().map(|least| least + 1).as_ref();
        let wanted = usize::try_from(PARTITIONS).expect("positive");
        if held == wanted && is_even && group.members.iter().all(|member| member.epoch == epoch) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("{} does not come together", group.name))
}

fn beats_per_second(lines: &mut [Line], group: &mut Group, rounds: usize) -> Result<f64, String> {
    let started = Instant::now();
    for _ in 0..rounds {
        beat_all(lines, group)?;
    }
    Ok((rounds * group.members.len()) as f64 / started.elapsed().as_secs_f64())
}

/// The last member leaves, the others beat one after the other: how long each of its partitions had no reader.
fn without_reader(lines: &mut [Line], group: &mut Group, beat: Duration) -> Result<Vec<Duration>, String> {
    let mut gone = group.members.pop().ok_or("the group is empty")?;
    let orphans = std::mem::take(&mut gone.owned);
    gone.epoch = -1;
    let left = Instant::now();
    lines[0].send_beat(group, &gone)?;
    lines[0].receive_beat()?;
    let pause = beat / u32::try_from(group.members.len()).expect("few");
    let mut spans = Vec::new();
    for turn in 0..group.members.len() * 10 {
        std::thread::sleep(pause);
        let at = turn % group.members.len();
        lines[0].send_beat(group, &group.members[at])?;
        let before = group.members[at].owned.clone();
        let answer = lines[0].receive_beat()?;
        take_over(&mut group.members[at], answer)?;
        let gained = group.members[at].owned.iter().filter(|one| orphans.contains(one) && !before.contains(one));
        spans.extend(gained.map(|_| left.elapsed()));
        if spans.len() == orphans.len() {
            return Ok(spans);
        }
    }
    Err(format!("{} of {} partitions have a reader again", spans.len(), orphans.len()))
}
