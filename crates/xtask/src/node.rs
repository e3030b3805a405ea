//! The server under test: one `milena server` process that we start, wait for, stop and kill. Only the process that a
//! `Node` started is ever signalled.

use crate::repository;
use crate::shell;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A server that is not ready by then never will be.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// A clean shutdown that takes longer is a fault.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);

/// Environment variable that names another program to put in our server's place.
const OTHER: &str = "SERVER_UNDER_TEST";

/// How to start a node.
pub(crate) struct Plan {
    pub(crate) data: PathBuf,
    /// Where the node's stderr goes; a restart appends.
    pub(crate) log: PathBuf,
    pub(crate) listen: String,
    /// `key=value` settings.
    pub(crate) options: Vec<String>,
}

impl Plan {
    /// A single node below `folder`, on a free port, with nothing kept from an earlier run.
    pub(crate) fn fresh(folder: &Path) -> Result<Self, String> {
        let fail = |error| format!("{}: {error}", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(fail)?;
        }
        std::fs::create_dir_all(folder).map_err(fail)?;
        Ok(Self {
            data: folder.join("data"),
            log: folder.join("server.log"),
            listen: "127.0.0.1:0".to_owned(),
            options: Vec::new(),
        })
    }

    /// Formats the directory, as the node would do itself at its first start.
    pub(crate) fn format(&self) -> Result<(), String> {
        let config = self.data.with_extension("properties");
        let text = format!("node.id=1\nlog.dirs={}\n", self.data.display());
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut command = Command::new(binary());
        shell::run(command.arg("format").arg("--config").arg(&config))
    }

    pub(crate) fn option(mut self, setting: impl Into<String>) -> Self {
        self.options.push(setting.into());
        self
    }
}

/// A running server.
pub(crate) struct Node {
    child: Child,
    /// `HOST:PORT` as the server printed it.
    pub(crate) address: String,
    /// From start to `ready`.
    pub(crate) ready_after: Duration,
}

impl Node {
    pub(crate) fn start(plan: &Plan) -> Result<Self, String> {
        let binary = binary();
        let log = File::options().create(true).append(true).open(&plan.log);
        let log = log.map_err(|error| format!("{}: {error}", plan.log.display()))?;
        let mut command = Command::new(&binary);
        command.arg("server").arg("--data-dir").arg(&plan.data).args(["--listen", &plan.listen]);
        command.args(plan.options.iter().flat_map(|option| ["-o", option.as_str()]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("could not start {}: {error}", binary.display()))?;

        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody listens after the first line; reading on keeps the pipe from filling.
                let _ = sender.send(line);
            }
        });
        let first = receiver.recv_timeout(READY_TIME_MAX);
        let ready_after = started.elapsed();
        match first.as_deref().ok().and_then(|line| line.strip_prefix("ready ")) {
            Some(address) => Ok(Self { child, address: address.to_owned(), ready_after }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("the server did not say ready but {first:?}; its log: {}", plan.log.display()))
            }
        }
    }

    /// Bytes of memory that the kernel counts under this name: `VmRSS` is resident now, `VmHWM` the most that it was.
    pub(crate) fn memory(&self, name: &str) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| format!("{path} has no {name}"))
    }

    /// Fails if the process has ended by itself.
    pub(crate) fn check_running(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server ended by itself: {status}")),
            Err(error) => Err(format!("the server cannot be asked: {error}")),
        }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        self.check_running()?;
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| format!("kill: {error}"))?;
        Ok(())
    }

    /// SIGTERM; the server must end cleanly with code 0.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.check_running()?;
        let id = self.child.id().to_string();
        shell::run(Command::new("kill").args(["-TERM", &id]))?;
        let until = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the server did not end cleanly after SIGTERM: {status}")),
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(format!("the server cannot be asked: {error}")),
            }
        }
        Err(format!("the server still runs {} s after SIGTERM", STOP_TIME_MAX.as_secs()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended is what we want here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test: ours, or another with the same command line, to try the tests themselves on.
fn binary() -> PathBuf {
    std::env::var_os(OTHER).map_or_else(|| repository::target().join("release/milena"), PathBuf::from)
}

/// Whether the program under test is ours.
pub(crate) fn is_ours() -> bool {
    std::env::var_os(OTHER).is_none()
}

/// Builds the shipped binary.
pub(crate) fn build() -> Result<(), String> {
    if !is_ours() {
        return Ok(());
    }
    let arguments = ["build", "--release", "--locked", "--quiet", "--package", "milena-cli"];
    shell::run(&mut shell::command(&repository::root(), "cargo", &arguments))
}
