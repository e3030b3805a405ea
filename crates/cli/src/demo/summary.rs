//! What the demo says at its end, and how it ends.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figures;
use super::members::GROUP;
use super::sending::Sent;
use super::verify::Verdict;
use super::{MEMBERS, TOPIC};
use crate::failure::Failure;
use crate::output::Output;

/// For programs.
#[derive(Serialize)]
struct Summary<'a> {
    topic: &'static str,
    group: &'static str,
    members: usize,
    sent: u64,
    bad_lines: u64,
    received: u64,
    keys: usize,
    partitions: &'a BTreeMap<i32, u64>,
    exactly_once: bool,
    ordered: bool,
    verdict: &'a Verdict,
    seconds: f64,
    events_per_second: f64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
}

/// `bootstrap` is where the broker can be asked afterwards, if it stays.
pub(super) fn print(
    figures: &Figures,
    keys: usize,
    sent: &Sent,
    verdict: &Verdict,
    bootstrap: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let summary = Summary {
        topic: TOPIC,
        group: GROUP,
        members: MEMBERS,
        sent: sent.expected.count,
        bad_lines: sent.bad_lines,
        received: figures.received,
        keys,
        partitions: &figures.partitions,
        exactly_once: is_exactly_once(verdict),
        ordered: verdict.out_of_order == 0,
        verdict,
        seconds: figures.duration.as_secs_f64(),
        events_per_second: figures.rate(),
        latency_p50_ms: figures.latencies.percentile_ms(50.0),
        latency_p99_ms: figures.latencies.percentile_ms(99.0),
    };
    output.report(&summary, &text(&summary, sent, bootstrap))
}

fn is_exactly_once(verdict: &Verdict) -> bool {
    verdict.missing == 0 && verdict.duplicated == 0 && verdict.foreign == 0 && !verdict.altered
}

fn text(summary: &Summary<'_>, sent: &Sent, bootstrap: Option<&str>) -> String {
    let yes = |good: bool| if good { "yes" } else { "NO" };
    let partitions: Vec<String> = summary.partitions.values().map(u64::to_string).collect();
    let mut lines = vec![
        format!(
            "events sent           {} ({} bytes in {:.1} s)",
            summary.sent,
            sent.bytes,
            sent.duration.as_secs_f64()
        ),
        format!("events received       {} ({} by partition)", summary.received, partitions.join(" + ")),
        format!("each exactly once     {}", yes(summary.exactly_once)),
        format!("in order for each key {} ({} keys)", yes(summary.ordered), summary.keys),
        format!("rate                  {:.0} events/s", summary.events_per_second),
        format!("latency               p50 {:.1} ms, p99 {:.1} ms", summary.latency_p50_ms, summary.latency_p99_ms),
        format!("time                  {:.1} s", summary.seconds),
    ];
    lines.extend(["", "What to try next:"].map(str::to_owned));
    match bootstrap {
        Some(bootstrap) => {
            lines.push(format!("  milena consume {TOPIC} -b {bootstrap} --from-beginning -n 5"));
            lines.push(format!("  milena group describe {GROUP} -b {bootstrap}"));
        }
        None => lines.push("  milena demo --keep    the same, and the node stays to be asked".to_owned()),
    }
    lines.push("  milena server         a node of your own, data in ./milena-data".to_owned());
    lines.join("\n")
}

/// Whether the demo has shown what it promised.
pub(super) fn judge(sent: &Sent, verdict: &Verdict) -> Result<(), Failure> {
    if !verdict.is_good() {
        let first = verdict.first_missing.map(|number| format!(", the first is event {number}")).unwrap_or_default();
        let altered = if verdict.altered { ", some altered" } else { "" };
        return Err(Failure::failed(format!(
            "what was received is not what was sent: {} missing{first}, {} more than once, {} out of order, {} foreign{altered}",
            verdict.missing, verdict.duplicated, verdict.out_of_order, verdict.foreign
        )));
    }
    match sent.bad_lines {
        0 if sent.expected.count == 0 => Err(Failure::failed("the input holds no event, so nothing was shown")),
        0 => Ok(()),
        bad => {
            Err(Failure::failed(format!("{bad} lines of the input are no events; correct them and send them again")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_fails_if_one_event_is_missing() {
        let verdict = Verdict { missing: 1, first_missing: Some(4), ..Verdict::default() };
        let Err(Failure::Failed(message)) = judge(&Sent::default(), &verdict) else { panic!("it is content") };
        assert!(message.contains("1 missing, the first is event 4"), "{message}");
    }

    #[test]
    fn the_demo_fails_if_a_line_was_bad() {
        let sent = Sent { bad_lines: 2, ..Sent::default() };
        assert!(matches!(judge(&sent, &Verdict::default()), Err(Failure::Failed(_))));
        assert!(judge(&Sent::default(), &Verdict::default()).is_err(), "nothing sent shows nothing");
        let mut sent = Sent::default();
        sent.expected.count = 1;
        assert!(judge(&sent, &Verdict::default()).is_ok());
    }
}
