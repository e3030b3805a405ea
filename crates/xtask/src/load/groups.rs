//! Ten thousand groups with a hundred thousand members against one node: what a member costs in memory, how fast all of
//! them beat and commit, how long a group rebalances while the others are there, and how long the node needs to know
//! them again.

use super::member::{Joined, NONE, REBALANCE_IN_PROGRESS, Sessions, UNKNOWN_MEMBER_ID, connect};
use super::{Report, ms, option, quantile};
use crate::faults::line::Line;
use crate::node::{self, Node, Plan};
use crate::repository;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const MEMBERS_PER_GROUP: usize = 10;
const PARTITIONS: i32 = 10;
/// Groups that share ten connections: a hundredth of all, between these.
const GROUPS_PER_CHUNK: [usize; 2] = [10, 100];
/// Heartbeats that are sent on one connection before the first answer is read.
const PIPELINED: usize = 100;
const SESSIONS: Sessions = Sessions { session_ms: 300_000, rebalance_ms: 20_000 };
/// Long enough for ten members to come in, on a busy machine too.
const DELAY_MS: u64 = 150;
const ATTEMPTS: usize = 4;

/// What a member may cost: resident bytes of the node, its share of its group and of the heap's gaps included.
const BYTES_PER_MEMBER_MAX: u64 = 1_500;
/// In a node with few members what it costs besides (buffers of connections, caches) does not spread.
const BYTES_BESIDES: u64 = 16_000_000;
const REBALANCE_P99_MAX: Duration = Duration::from_millis(500);
const BEATS_PER_SECOND_MIN: f64 = 5_000.0;
const COMMITS_PER_SECOND_MIN: f64 = 3_000.0;
const RELOAD_MAX: Duration = Duration::from_secs(20);

/// Groups, and the connections that their members share.
struct Chunk {
    lines: Vec<Line>,
    groups: Vec<Group>,
}

struct Group {
    name: String,
    members: Vec<Joined>,
}

pub(crate) fn groups(arguments: &[&str]) -> Result<(), String> {
    let members = option(arguments, &["--members"], "--members")?.unwrap_or("100000");
    let members: usize = members.parse().map_err(|_| format!("{members} is no number of members"))?;
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("load/groups"))?
        .option(format!("group.initial.rebalance.delay.ms={DELAY_MS}"))
        .option("offsets.topic.replication.factor=1");
    let node = Node::start(&plan)?;
    let mut chunks = open(&node.address, members.div_ceil(MEMBERS_PER_GROUP))?;
    let mut report = Report::default();
    let before = node.memory("VmRSS")?;

    let started = Instant::now();
    each_group(&mut chunks, form)?;
    let formed = started.elapsed();
    let after = node.memory("VmRSS")?;
    let cost = after.saturating_sub(before);
    let allowed = BYTES_PER_MEMBER_MAX * members as u64 + BYTES_BESIDES;
    let each = cost / members as u64;
    println!("{} groups with {members} members formed in {:.1} s", members.div_ceil(10), formed.as_secs_f64());
    report.judge(
        cost <= allowed,
        &format!("{each} bytes per member ({:.0} of {:.0} MB resident)", cost as f64 / 1e6, after as f64 / 1e6),
    );

    let beats = rate(members, || beat_all(&mut chunks))?;
    report
        .judge(beats >= BEATS_PER_SECOND_MIN, &format!("{beats:.0} heartbeats per second, all answered without error"));
    let commits = rate(members, || commit_all(&mut chunks))?;
    let with_offsets = node.memory("VmRSS")?.saturating_sub(after) / members as u64;
    report.judge(
        commits >= COMMITS_PER_SECOND_MIN,
        &format!("{commits:.0} commits per second, {with_offsets} bytes per offset"),
    );

    let mut spans = each_group(&mut chunks, rebalance)?;
    spans.sort();
    let (middle, p99) = (quantile(&spans, 0.5), quantile(&spans, 0.99));
    report.judge(
        p99 <= REBALANCE_P99_MAX,
        &format!("a rebalance after one of ten left: median {}, p99 {}, in all groups at once", ms(middle), ms(p99)),
    );

    node.stop()?;
    let started = Instant::now();
    let node = Node::start(&plan)?;
    let known = known_again(&node.address, chunks.iter().map(|chunk| chunk.groups.len()).sum())?;
    let reload = started.elapsed();
    report.judge(known && reload <= RELOAD_MAX, &format!("all groups are known {} after a restart", ms(reload)));
    let peak = node.memory("VmHWM")?;
    println!("the restarted node's peak: {:.0} MB", peak as f64 / 1e6);
    node.stop()?;
    report.end("load-groups")
}

fn open(address: &str, groups: usize) -> Result<Vec<Chunk>, String> {
    connect(address)?.prepare(PARTITIONS)?;
    let names: Vec<String> = (0..groups).map(|number| format!("load-group-{number:06}")).collect();
    let chunk = |names: &[String]| {
        let lines = (0..MEMBERS_PER_GROUP).map(|_| connect(address)).collect::<Result<Vec<Line>, String>>()?;
        let group = |name: &String| Group { name: name.clone(), members: vec![Joined::default(); MEMBERS_PER_GROUP] };
        Ok(Chunk { lines, groups: names.iter().map(group).collect() })
    };
    let [least, most] = GROUPS_PER_CHUNK;
    names.chunks(groups.div_ceil(100).clamp(least, most)).map(chunk).collect()
}

/// Does one thing for each group, the chunks at the same time, and answers how long each took.
fn each_group(
    chunks: &mut [Chunk],
    work: fn(&mut [Line], &mut Group) -> Result<Duration, String>,
) -> Result<Vec<Duration>, String> {
    each_chunk(chunks, |chunk| {
        let Chunk { lines, groups } = chunk;
        groups.iter_mut().map(|group| work(lines, group)).collect::<Result<Vec<Duration>, String>>()
    })
    .map(|spans| spans.into_iter().flatten().collect())
}

fn each_chunk<T: Send>(
    chunks: &mut [Chunk],
    work: impl Fn(&mut Chunk) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for chunk in chunks {
            scope.spawn(|| {
                let result = work(chunk);
                results.lock().expect("no worker panics").push(result);
            });
        }
    });
    results.into_inner().expect("no worker panics").into_iter().collect()
}

/// Brings all members into one generation.
fn form(lines: &mut [Line], group: &mut Group) -> Result<Duration, String> {
    let started = Instant::now();
    for _ in 0..ATTEMPTS {
        if join_and_sync(lines, group)? {
            return Ok(started.elapsed());
        }
    }
    Err(format!("{} does not come together", group.name))
}

/// One generation of all members that have a line: whether it has them all.
fn join_and_sync(lines: &mut [Line], group: &mut Group) -> Result<bool, String> {
    for (line, member) in lines.iter_mut().zip(&group.members) {
        line.send_join(&group.name, &member.member, SESSIONS)?;
    }
    for (line, member) in lines.iter_mut().zip(&mut group.members) {
        *member = line.receive_join()?;
        match member.error {
            NONE => {}
            UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS => return Ok(false),
            error => return Err(format!("a join of {} is answered {error}", group.name)),
        }
    }
    let generation = group.members[0].generation;
    let whole = group.members.iter().any(|member| member.members.len() == group.members.len());
    if !whole || group.members.iter().any(|member| member.generation != generation) {
        return Ok(false);
    }
    for (line, member) in lines.iter_mut().zip(&group.members) {
        line.send_sync(&group.name, member, PARTITIONS)?;
    }
    for line in lines.iter_mut().take(group.members.len()) {
        match line.receive_sync()? {
            (NONE, part) if !part.is_empty() => {}
            (error, part) => return Err(format!("a sync of {} is answered {error} with {part:?}", group.name)),
        }
    }
    Ok(true)
}

/// The last member leaves; how long until all others have their new part.
fn rebalance(lines: &mut [Line], group: &mut Group) -> Result<Duration, String> {
    let started = Instant::now();
    let last = group.members.pop().expect("groups have members");
    lines[group.members.len()].leave(&group.name, &last)?;
    for (line, member) in lines.iter_mut().zip(&group.members) {
        line.send_heartbeat(&group.name, member)?;
    }
    for line in lines.iter_mut().take(group.members.len()) {
        match line.receive_error()? {
            REBALANCE_IN_PROGRESS => {}
            error => return Err(format!("a heartbeat into a rebalance of {} is answered {error}", group.name)),
        }
    }
    match join_and_sync(lines, group)? {
        true => Ok(started.elapsed()),
        false => Err(format!("{} does not come together again", group.name)),
    }
}

fn rate(members: usize, work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let started = Instant::now();
    work()?;
    Ok(members as f64 / started.elapsed().as_secs_f64())
}

fn beat_all(chunks: &mut [Chunk]) -> Result<(), String> {
    pipelined(
        chunks,
        |line, group, at| line.send_heartbeat(&group.name, &group.members[at]),
        |line| match line.receive_error()? {
            NONE => Ok(()),
            error => Err(format!("a heartbeat is answered {error}")),
        },
    )
}

fn commit_all(chunks: &mut [Chunk]) -> Result<(), String> {
    pipelined(
        chunks,
        |line, group, at| line.send_commit(&group.name, &group.members[at], i32::try_from(at).expect("few")),
        |line| match line.receive_commit()? {
            NONE => Ok(()),
            error => Err(format!("a commit is answered {error}")),
        },
    )
}

/// One request of each member, many on a connection at a time.
fn pipelined(
    chunks: &mut [Chunk],
    send: impl Fn(&mut Line, &Group, usize) -> Result<(), String> + Sync,
    receive: impl Fn(&mut Line) -> Result<(), String> + Sync,
) -> Result<(), String> {
    each_chunk(chunks, |chunk| {
        for groups in chunk.groups.chunks(PIPELINED) {
            for (at, line) in chunk.lines.iter_mut().enumerate() {
                groups.iter().try_for_each(|group| send(line, group, at))?;
            }
            for line in &mut chunk.lines {
                groups.iter().try_for_each(|_| receive(line))?;
            }
        }
        Ok(())
    })
    .map(|_| ())
}

/// Whether a node lists that many groups before a limit.
fn known_again(address: &str, groups: usize) -> Result<bool, String> {
    let started = Instant::now();
    let mut line = connect(address)?;
    while started.elapsed() < RELOAD_MAX {
        if line.count_groups()?.and_then(|count| usize::try_from(count).ok()) == Some(groups) {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}
