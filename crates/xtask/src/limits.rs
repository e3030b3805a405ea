//! What a node may cost before anybody asks for anything: time until it is ready, and memory while it is idle.

use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use std::time::Duration;

/// From start to `ready` on a directory that exists, the middle of all starts.
const READY_MAX: Duration = Duration::from_millis(100);
const STARTS: usize = 10;
/// Resident bytes of a node that nobody talks to.
const IDLE_BYTES_MAX: u64 = 40_000_000;
/// How long a node is left alone before it is looked at.
const IDLE_TIME: Duration = Duration::from_secs(3);

pub(crate) fn limits() -> Result<(), String> {
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("limits"))?;
    Node::start(&plan)?.stop()?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let node = Node::start(&plan)?;
        times.push(node.ready_after);
        node.stop()?;
    }
    times.sort();
    let ready = times[STARTS / 2];
    let node = Node::start(&plan)?;
    std::thread::sleep(IDLE_TIME);
    let idle = node.memory("VmRSS")?;
    node.stop()?;

    counts::announce("limits");
    let good = [ready <= READY_MAX, idle <= IDLE_BYTES_MAX];
    let word = |good: bool| if good { "ok    " } else { "FAILED" };
    println!("{} ready after {:.1} ms, the middle of {STARTS} starts", word(good[0]), ready.as_secs_f64() * 1e3);
    println!("{} {:.1} MB resident while idle", word(good[1]), idle as f64 / 1e6);
    let failed = good.iter().filter(|good| !**good).count();
    println!("{} passed, {failed} failed", good.len() - failed);
    if failed == 0 { Ok(()) } else { Err("the node costs more than it may".to_owned()) }
}
