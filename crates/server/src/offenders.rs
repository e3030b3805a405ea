//! At most one log line per offender and second: a flood of bad requests must not become a flood of log lines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use milena_base::Millis;
use parking_lot::Mutex;

/// Addresses remembered at the same time. Beyond it, those who were quiet for a second are forgotten.
const OFFENDERS_MAX: usize = 1024;
/// One line per offender in this time.
const QUIET: Millis = Millis(1000);

/// Who was named in the log lately, and how often more since.
#[derive(Debug, Default)]
pub struct Offenders {
    named: Mutex<BTreeMap<IpAddr, Named>>,
}

#[derive(Debug, Clone, Copy)]
struct Named {
    at: Millis,
    /// Offences that were not logged since.
    unsaid: u64,
}

impl Offenders {
    /// Whether an offence of `address` may be logged now; if so, how many went unsaid since the last line.
    pub fn say(&self, address: IpAddr, now: Millis) -> Option<u64> {
        let mut named = self.named.lock();
        if let Some(known) = named.get_mut(&address) {
            if now - known.at < QUIET {
                known.unsaid += 1;
                return None;
            }
            let unsaid = known.unsaid;
            *known = Named { at: now, unsaid: 0 };
            return Some(unsaid);
        }
        if named.len() >= OFFENDERS_MAX {
            named.retain(|_, known| now - known.at < QUIET);
        }
        if named.len() >= OFFENDERS_MAX {
            return None;
        }
        named.insert(address, Named { at: now, unsaid: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let offenders = Offenders::default();
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(offenders.say(address, Millis(0)), Some(0));
        assert_eq!(offenders.say(address, Millis(10)), None);
        assert_eq!(offenders.say(address, Millis(999)), None);
        assert_eq!(offenders.say(address, Millis(1000)), Some(2));
    }

    #[test]
    fn memory_is_bounded() {
        let offenders = Offenders::default();
        for host in 0..5000u32 {
            offenders.say(IpAddr::from(host.to_be_bytes()), Millis(0));
        }
        assert!(offenders.named.lock().len() <= OFFENDERS_MAX);
    }
}
