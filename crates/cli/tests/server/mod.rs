//! A server of its own for each test, and commands against it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

/// A running `milena server`, killed when the test is done with it.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(&[])
    }

    /// Starts with further settings.
    pub(crate) fn start_with(settings: &[&str]) -> Server {
        let data = tempfile::tempdir().unwrap();
        let mut process = milena()
            .args(["server", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path())
            .args(["-o", "group.initial.rebalance.delay.ms=0"])
            .args(settings.iter().flat_map(|setting| ["-o", setting]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ready ").expect("the first line is \"ready HOST:PORT\"").to_owned();
        Server { process, address, _data: data }
    }

    /// Runs a command against it, with `input` on stdin.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        with_input(milena().args(arguments).args(["-b", &self.address]).stderr(Stdio::piped()), input)
    }

    /// Runs a command that must succeed, and answers what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        stdout(&self.run_with(arguments, ""))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(crate) fn milena() -> Command {
    Command::new(env!("CARGO_BIN_EXE_milena"))
}

/// Runs a command with `input` on stdin; what it prints is caught.
pub(crate) fn with_input(command: &mut Command, input: &str) -> Output {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code and stderr, which must be one line.
pub(crate) fn failure(output: &Output) -> (i32, String) {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(output.stdout.is_empty(), "a failed command prints no result");
    (output.status.code().unwrap(), message)
}
