//! `milena consume` over several topics, and from their ends.

mod server;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use server::{Server, failure, milena, stdout};

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Topics `a` and `b`, with twelve records of the time 0 each.
fn two_topics() -> Server {
    let server = Server::start();
    for topic in ["a", "b"] {
        server.run(&["topic", "create", topic, "--partitions", "1"]);
        let records: String =
            (0..12).map(|n| format!("{{\"key\":\"k\",\"value\":\"{topic}{n}\",\"timestamp\":0}}\n")).collect();
        stdout(&server.run_with(&["produce", topic, "--format", "json"], &records));
    }
    server
}

#[test]
fn several_topics_are_read_at_once_alone_and_in_a_group() {
    let server = two_topics();
    let values = server.run(&["consume", "a", "b", "--from-beginning", "-e", "--format", "value"]);
    assert_eq!(values.lines().count(), 24);
    let from_b: Vec<&str> = values.lines().filter(|value| value.starts_with('b')).collect();
    assert_eq!(from_b, (0..12).map(|n| format!("b{n}")).collect::<Vec<_>>(), "in order within a topic");
    let grouped = server.run(&["consume", "a", "b", "--group", "g", "--from-beginning", "-n", "24"]);
    assert_eq!(grouped.lines().filter(|line| line.contains("\ta-0\t")).count(), 12, "{grouped}");
    let (code, message) = failure(&server.run_with(&["consume", "a", "missing", "-e"], ""));
    assert!(code == 1 && message.contains("missing"), "{code}: {message}");
}

#[test]
fn the_tail_shows_the_last_records_with_their_places_and_goes_on() {
    let server = two_topics();
    let last = server.run(&["consume", "a", "b", "--tail=1", "-e"]);
    assert_eq!(
        sorted(&last),
        ["1970-01-01T00:00:00.000Z\ta-0\t11\tk\ta11", "1970-01-01T00:00:00.000Z\tb-0\t11\tk\tb11"]
    );
    assert_eq!(server.run(&["consume", "a", "--tail", "-e"]).lines().count(), 10, "ten if nothing is said");
    assert_eq!(server.run(&["consume", "a", "--tail=100", "-e"]).lines().count(), 12, "no more than there are");
    let mut following = milena()
        .args(["consume", "a", "b", "--tail=1", "--format", "value", "-n", "3", "-b", &server.address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut begun = [lines.next().unwrap(), lines.next().unwrap()];
    begun.sort();
    assert_eq!(begun, ["a11", "b11"]);
    stdout(&server.run_with(&["produce", "b"], "new\n"));
    assert_eq!(lines.next().as_deref(), Some("new"));
    assert!(following.wait().unwrap().success());
}
