//! Clients beside each other: one lane for each broker, and every client goes to the lane that is free first. Most of the time
//! clients wait, for sessions to end and for groups to come to rest, so that several take little longer than one.

use super::broker::Broker;
use crate::counts;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Instant;

/// Where a client's lines go.
pub(super) enum Said {
    /// Straight to our stdout.
    AsItComes,
    /// To our stdout when the client has ended: lines of several clients must not mix.
    Together(String),
}

impl Said {
    pub(super) fn line(&mut self, line: &str) {
        match self {
            Said::AsItComes => println!("{line}"),
            Said::Together(lines) => writeln!(lines, "{line}").expect("memory takes any text"),
        }
    }

    fn end(self) {
        if let Said::Together(lines) = self {
            // One call, which holds the lock of stdout all the while.
            print!("{lines}");
        }
    }
}

/// Runs each client on one of the brokers, and says which ones failed.
pub(super) fn run(
    clients: &[&String],
    brokers: Vec<Broker>,
    run_client: impl Fn(&str, &mut Broker, &mut Said) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let is_alone = brokers.len() == 1;
    let waiting: Mutex<VecDeque<&str>> = Mutex::new(clients.iter().map(|client| client.as_str()).collect());
    let failed: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let fail = |what: &str| failed.lock().expect("no lane panics").push(what.to_owned());
    let lane = |mut broker: Broker| {
        loop {
            let Some(client) = waiting.lock().expect("no lane panics").pop_front() else { break };
            let mut said = if is_alone { Said::AsItComes } else { Said::Together(String::new()) };
            said.line(&counts::announcement(&format!("interop-{client}")));
            let started = Instant::now();
            let outcome = run_client(client, &mut broker, &mut said);
            said.line(&format!("{client} took {} s", started.elapsed().as_secs()));
            if let Err(reason) = outcome {
                said.line(&format!("{client}: {reason}"));
                fail(client);
            }
            said.end();
        }
        if let Err(reason) = broker.stop() {
            fail(&reason);
        }
    };
    std::thread::scope(|scope| {
        for broker in brokers {
            scope.spawn(|| lane(broker));
        }
    });
    let failed = failed.into_inner().expect("no lane panics");
    if failed.is_empty() { Ok(()) } else { Err(format!("not served as Kafka would: {}", failed.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(number: usize) -> Vec<Broker> {
        (0..number).map(|number| Broker::Given(number.to_string())).collect()
    }

    #[test]
    fn each_client_runs_once_on_whichever_broker_is_free() {
        let clients: Vec<String> = (0..40).map(|number| format!("client-{number}")).collect();
        let ran = Mutex::new(Vec::new());
        let together = std::sync::Barrier::new(2);
        let outcome = run(&clients.iter().collect::<Vec<_>>(), brokers(2), |client, broker, _| {
            // Nobody goes on alone: both lanes are in use.
            together.wait();
            ran.lock().unwrap().push((client.to_owned(), broker.address().to_owned()));
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
        let mut ran = ran.into_inner().unwrap();
        assert_eq!(ran.iter().filter(|(_, address)| address == "0").count(), 20);
        ran.sort();
        ran.dedup_by(|one, other| one.0 == other.0);
        assert_eq!(ran.len(), 40);
    }

    #[test]
    fn one_that_fails_is_named_and_keeps_nobody_from_running() {
        let clients = ["a", "b", "c"].map(str::to_owned);
        let ran = Mutex::new(0);
        let outcome = run(&clients.iter().collect::<Vec<_>>(), brokers(2), |client, _, _| {
            *ran.lock().unwrap() += 1;
            if client == "b" { Err("no".to_owned()) } else { Ok(()) }
        });
        assert_eq!(outcome, Err("not served as Kafka would: b".to_owned()));
        assert_eq!(ran.into_inner().unwrap(), 3);
    }
}
