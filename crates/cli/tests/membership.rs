//! `milena consume --group` over what happens to a member: it joins again and goes on.

mod server;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{Server, failure, milena, stdout};

#[test]
fn a_member_waits_for_a_group_that_takes_longer_to_form_than_offsets_are_stored() {
    let server = Server::start_with(&["group.initial.rebalance.delay.ms=6500"]);
    server.run(&["topic", "create", "t"]);
    stdout(&server.run_with(&["produce", "t"], "v\n"));
    assert_eq!(server.run(&["consume", "t", "--group", "g", "--from-beginning", "-n", "1"]), "v\n");
}

#[test]
fn a_member_that_slept_through_its_session_joins_again_and_goes_on() {
    // Joining again takes so long that the time to store offsets comes while it is under way.
    let server = Server::start_with(&["group.min.session.timeout.ms=1000", "group.initial.rebalance.delay.ms=2000"]);
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    stdout(&server.run_with(&["produce", "t"], "first\n"));
    let mut member = Member::start(&server, &["--session-timeout-ms", "1500", "--from-beginning", "-n", "3"]);
    assert_eq!(member.line(), "first\n");
    member.signal("STOP");
    wait_until(|| members(&server) == 0);
    // Longer than offsets wait to be stored: they are due when it wakes up.
    std::thread::sleep(Duration::from_secs(4));
    member.signal("CONT");
    assert_eq!(member.line(), "first\n", "it was never stored");
    stdout(&server.run_with(&["produce", "t"], "second\n"));
    assert_eq!(member.line(), "second\n");
    let (code, told) = member.end();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("note: the group went on without this member"), "{told}");
    assert_eq!(describe(&server)["partitions"][0]["committed_offset"], 2);
}

#[test]
fn where_a_member_began_is_stored_when_its_partitions_are_taken_before_it_read_anything() {
    let server = Server::start_with(&["group.min.session.timeout.ms=1000"]);
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    stdout(&server.run_with(&["produce", "t"], "before\n"));
    let _first = Member::start(&server, &["--session-timeout-ms", "1500"]);
    wait_until(|| describe(&server)["partitions"][0]["member"].is_string());
    let _second = Member::start(&server, &["--session-timeout-ms", "1500"]);
    wait_until(|| members(&server) == 2 && describe(&server)["state"] == "Stable");
    assert_eq!(
        describe(&server)["partitions"][0]["committed_offset"],
        1,
        "sooner than offsets are stored by the clock"
    );
}

#[test]
fn a_session_that_the_broker_does_not_allow_is_told_with_what_it_does() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]);
    let consume = ["consume", "t", "--group", "g", "--session-timeout-ms", "1"];
    let (code, message) = failure(&server.run_with(&consume, ""));
    assert!(code == 1 && message.contains("group.min.session.timeout.ms"), "{code}: {message}");
}

/// How many members group `g` has.
fn members(server: &Server) -> u64 {
    describe(server)["members"].as_u64().unwrap_or(0)
}

/// Null before there is such a group.
fn describe(server: &Server) -> Value {
    let described = server.run_with(&["group", "describe", "g", "--output", "json"], "");
    serde_json::from_slice(&described.stdout).unwrap_or_default()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come to pass");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A `milena consume t --group g` under way.
struct Member {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Member {
    fn start(server: &Server, arguments: &[&str]) -> Member {
        let mut process = milena()
            .args(["consume", "t", "--group", "g", "-b", &server.address])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Member { process, lines }
    }

    /// The next record; empty if it has ended.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end. Answers the exit code and what it told.
    fn end(&mut self) -> (Option<i32>, String) {
        let code = self.process.wait().unwrap().code();
        let mut told = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (code, told)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
