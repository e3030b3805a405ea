//! Groups that the broker assigns (KIP-848): what a member costs in memory, and whether a heartbeat stays cheap in a group
//! of a thousand.

use super::assigned::Member;
use super::member::connect;
use super::{Report, option};
use crate::faults::line::Line;
use crate::node::{self, Node, Plan};
use crate::repository;
use std::time::{Duration, Instant};

/// Connections that members share: their requests are answered at once.
const LINES: usize = 10;
const PARTITIONS: i32 = 1_000;
const SMALL_GROUP: usize = 10;
/// Rounds of heartbeats in which a group must have come to rest.
const ROUNDS_MAX: usize = 60;

const BYTES_PER_MEMBER_MAX: u64 = 6_000;
const BYTES_BESIDES: u64 = 16_000_000;
/// How much dearer a heartbeat may be in the large group than in a small one.
const DEARER_MAX: f64 = 2.0;

struct Group {
    name: String,
    topic: [u8; 16],
    members: Vec<Member>,
}

/// `--members N`: of the large group.
pub(crate) fn consumers(arguments: &[&str]) -> Result<(), String> {
    let members = option(arguments, &["--members"], "--members")?.unwrap_or("1000");
    let members: usize = members.parse().map_err(|_| format!("{members} is no number of members"))?;
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("load/consumers"))?;
    let node = Node::start(&plan.option("offsets.topic.replication.factor=1"))?;
    let mut lines = (0..LINES).map(|_| connect(&node.address)).collect::<Result<Vec<Line>, String>>()?;
    lines[0].prepare(PARTITIONS)?;
    let topic = lines[0].topic_id()?;
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

    node.stop()?;
    report.end("load-consumers")
}

fn named(count: usize) -> Vec<Member> {
    (0..count).map(|number| Member { id: format!("member-{number:05}"), ..Default::default() }).collect()
}

/// One heartbeat of each member, the lines filled first and emptied then.
fn beat_all(lines: &mut [Line], group: &mut Group) -> Result<(), String> {
    let count = group.members.len();
    for (at, member) in group.members.iter().enumerate() {
        lines[at % LINES].send_beat(&group.name, &group.topic, member)?;
    }
    for at in 0..count {
        let answer = lines[at % LINES].receive_beat()?;
        group.members[at].take_over(answer)?;
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
