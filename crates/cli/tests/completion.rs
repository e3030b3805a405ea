//! What a shell is told when somebody presses Tab.

mod server;

use std::process::{Command, Stdio};

use server::{Server, failure, milena, stdout, with_input};

/// What is offered for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let mut command = milena();
    command.env("MILENA_COMPLETE", "fish").args(["--", "milena"]).args(words);
    let output = stdout(&command.output().unwrap());
    output.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn commands_and_names_that_the_cluster_has_are_offered() {
    let server = Server::start();
    for topic in ["user-events", "user-names", "payments"] {
        server.run(&["topic", "create", topic]);
    }
    stdout(&server.run_with(&["produce", "payments", "--transactional-id", "till-7"], "v\n"));
    server.run(&["consume", "payments", "--group", "audit", "--from-beginning", "-n", "1"]);
    let asked = |words: &[&str]| offered(&[&["-b", &server.address], words].concat());
    assert_eq!(asked(&["cons"]), ["consume"]);
    assert_eq!(asked(&["consume", "user"]), ["user-events", "user-names"]);
    assert_eq!(asked(&["consume", "payments", "user-e"]), ["user-events"]);
    assert!(!asked(&["topic", "describe", ""]).iter().any(|name| name.starts_with("__")));
    assert!(asked(&["topic", "describe", "__c"]).contains(&"__consumer_offsets".to_owned()));
    assert_eq!(asked(&["group", "describe", "a"]), ["audit"]);
    assert_eq!(asked(&["consume", "payments", "--group", "a"]), ["audit"]);
    assert_eq!(asked(&["transaction", "describe", "t"]), ["till-7"]);
    assert_eq!(asked(&["topic", "create", "user"]), [""; 0], "a new name is nobody's yet");
}

/// The words of a line once bash has completed it: Tab is pressed behind each.
fn completed_by_bash(lines: &[String]) -> Vec<String> {
    // The command itself is not run: its words are shown.
    let shown = "milena() { printf '<%s>' \"$@\"; echo; }";
    let milena = env!("CARGO_BIN_EXE_milena");
    let lines: String = lines.iter().map(|line| format!("{line}\t\n")).collect();
    let typed = format!("source <('{milena}' completions bash)\n{shown}\n{lines}exit\n");
    let mut bash = Command::new("bash");
    let output = with_input(bash.args(["--norc", "-i"]).stderr(Stdio::null()), &typed);
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_a_line_with_a_port() {
    let server = Server::start();
    server.run(&["topic", "create", "user-events"]);
    stdout(&server.run_with(&["produce", "user-events", "--transactional-id", "till:7"], "v\n"));
    let broker = &server.address;
    let lines = [
        format!("milena -b {broker} consume us"),
        format!("milena --bootstrap={broker} consume 'us"),
        format!("milena transaction describe -b {broker} till:"),
        format!("milena -b {broker} cons"),
    ];
    let expected = [
        format!("<-b><{broker}><consume><user-events>"),
        format!("<--bootstrap={broker}><consume><user-events>"),
        format!("<transaction><describe><-b><{broker}><till:7>"),
        format!("<-b><{broker}><consume>"),
    ];
    assert_eq!(completed_by_bash(&lines), expected);
}

#[test]
fn without_a_broker_nothing_is_offered_and_nobody_waits() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for broker in ["127.0.0.1:1", &address] {
        let started = std::time::Instant::now();
        assert_eq!(offered(&["-b", broker, "consume", "user"]), [""; 0]);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}

#[test]
fn every_shell_gets_a_script_that_calls_this_binary() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&milena().args(["completions", shell]).output().unwrap());
        assert!(script.contains("MILENA_COMPLETE") && script.contains(env!("CARGO_BIN_EXE_milena")), "{script}");
    }
    assert_eq!(milena().args(["completions", "csh"]).output().unwrap().status.code(), Some(2));
    let (code, message) = failure(&milena().args(["completions", "bash", "-b", "127.0.0.1:1"]).output().unwrap());
    assert!(code == 2 && message.contains("no broker"), "{message}");
}
