//! One client must not stall the others. Well-behaved clients go on at a modest pace, first alone, then beside each of
//! the attacks, which all are requests that a client may send; what they waited is printed, and the longest wait has a
//! bound. Thirty connections that want everything cost their neighbours a factor; what must not happen is a stop.

mod attacks;
mod honest;
mod stage;

use self::attacks::{ATTACKS, Attack};
use self::honest::Honest;
use crate::counts;
use crate::node::{self, Node, Plan};
use crate::repository;
use std::time::Duration;

/// The longest that an honest client may wait for an answer, on a machine of two cores that the attackers share with the
/// server. Before there was a bound, it was 8 s.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// How long the honest clients are alone.
const ALONE: Duration = Duration::from_secs(2);
/// How long an attack goes on.
const ATTACK: Duration = Duration::from_secs(4);

pub(crate) fn fairness(arguments: &[&str]) -> Result<(), String> {
    let attacks = chosen(arguments)?;
    node::build()?;
    let plan = Plan::fresh(&repository::target().join("faults/fairness"))?;
    let mut node = Node::start(&plan)?;
    stage::set(&node.address)?;
    let mut honest = Honest::settle(&node.address)?;
    counts::announce("faults-fairness");
    let alone = honest.go_on_beside(|| std::thread::sleep(ALONE))?;
    println!("       alone: {alone}");
    let (mut passed, mut failed) = (0, 0);
    for attack in attacks {
        let waits = honest.go_on_beside(|| attack.run(&node.address, ATTACK))?;
        node.check_running()?;
        let is_fair = waits.longest() <= WAIT_MAX;
        println!("{} {}: {waits}", if is_fair { "ok    " } else { "FAILED" }, attack.name);
        *(if is_fair { &mut passed } else { &mut failed }) += 1;
        honest.rest()?;
    }
    node.stop()?;
    println!("{passed} passed, {failed} failed");
    match failed {
        0 => Ok(()),
        _ => Err(format!("an honest client waited longer than {} ms", WAIT_MAX.as_millis())),
    }
}

/// All attacks, or those whose name holds a word.
fn chosen(arguments: &[&str]) -> Result<Vec<&'static Attack>, String> {
    match arguments {
        [] => Ok(ATTACKS.iter().collect()),
        ["--attack", word] => Ok(ATTACKS.iter().filter(|attack| attack.name.contains(word)).collect()),
        _ => Err("faults fairness [--attack WORD]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_chosen_by_a_word_of_their_name() {
        assert_eq!(chosen(&[]).map(|all| all.len()), Ok(ATTACKS.len()));
        assert_eq!(chosen(&["--attack", "markers"]).map(|some| some.len()), Ok(1));
        assert!(chosen(&["markers"]).is_err());
    }
}
