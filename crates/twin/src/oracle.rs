//! A real Apache Kafka on this machine: fetched with Maven, formatted and started in a temporary directory, stopped
//! and removed when dropped. Transcripts are recorded from such a node alone.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::profile::{FORMER_FEATURES, Profile};

/// The version that transcripts are recorded from; `oracle/pom.xml` names the same.
pub const KAFKA_VERSION: &str = "4.3.1";
/// What every broker is given, ours too.
pub const BROKER_PROPERTIES: &str = include_str!("../broker.properties");
/// Names the folder with Kafka's jars; without it they lie in `target/oracle`.
pub const JARS_VARIABLE: &str = "MILENA_ORACLE_JARS";

const START_LIMIT: Duration = Duration::from_secs(90);
const HEAP: &str = "-Xmx512m";
const STARTED: &str = "Kafka Server started";

/// Why there is no oracle.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// A program is missing or a file cannot be written.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        error: io::Error,
    },
    /// A program said no.
    #[error("{doing} failed:\n{output}")]
    Failed {
        /// What was tried.
        doing: String,
        /// The end of what it printed.
        output: String,
    },
}

/// Kafka's jars.
#[derive(Debug, Clone)]
pub struct Jars {
    folder: PathBuf,
}

impl Jars {
    /// Finds the jars, or fetches them.
    ///
    /// # Errors
    /// When Maven is missing or cannot fetch them.
    pub fn fetch() -> Result<Jars, OracleError> {
        let folder = std::env::var_os(JARS_VARIABLE).map_or_else(default_folder, PathBuf::from);
        let jars = Jars { folder };
        if !jars.kafka().exists() {
            let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
            let output = format!("-DoutputDirectory={}", jars.folder.display());
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "-f"]).arg(crate_dir.join("oracle/pom.xml"));
            maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime", &output]);
            run(maven, "fetching Kafka with mvn")?;
        }
        Ok(jars)
    }

    fn kafka(&self) -> PathBuf {
        self.folder.join(format!("kafka_2.13-{KAFKA_VERSION}.jar"))
    }

    /// The SHA-256 of the jar that holds the broker, in hexadecimal.
    ///
    /// # Errors
    /// When the jar or the program `sha256sum` is missing.
    pub fn sha256(&self) -> Result<String, OracleError> {
        let mut program = Command::new("sha256sum");
        program.arg(self.kafka());
        let output = run(program, "sha256sum")?;
        Ok(output.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Java with Kafka's classes, and those in another folder.
    fn java(&self, more: &Path) -> Command {
        let mut java = Command::new("java");
        let classes = format!("{}:{}", self.folder.join("*").display(), more.display());
        java.args([HEAP, "-XX:TieredStopAtLevel=1", "-cp", &classes]);
        java
    }

    /// Compiles the plug-in that takes metrics of clients.
    fn compile_receiver(&self, into: &Path) -> Result<(), OracleError> {
        let mut compiler = Command::new("javac");
        compiler.arg("-cp").arg(self.folder.join("*")).arg("-d").arg(into);
        compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/Receiver.java"));
        run(compiler, "compiling the receiver of metrics").map(drop)
    }
}

fn default_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracle")
}

/// A running node.
#[derive(Debug)]
pub struct Oracle {
    kafka: Child,
    address: SocketAddr,
    /// Removed with everything in it when the oracle is dropped.
    directory: TempDir,
}

impl Oracle {
    /// Formats a directory, starts a node on free ports, and waits until it is ready.
    ///
    /// # Errors
    /// When Java is missing or Kafka does not start.
    pub fn start(jars: &Jars, profile: Profile) -> Result<Oracle, OracleError> {
        let directory = tempfile::tempdir().map_err(io_error("making a directory"))?;
        let (broker, controller) = free_ports().map_err(io_error("looking for free ports"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker));
        let config = directory.path().join("server.properties");
        fs::write(&config, properties(profile, directory.path(), broker, controller))
            .map_err(io_error("writing settings"))?;
        let classes = directory.path().join("classes");
        if profile == Profile::Telemetry {
            jars.compile_receiver(&classes)?;
        }
        let mut format = jars.java(&classes);
        format.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAABg", "-c"]);
        format.arg(&config);
        if profile.is_made_formerly() {
            format.args(FORMER_FEATURES.iter().flat_map(|feature| ["--feature", feature]));
        }
        run(format, "formatting")?;
        let log = File::create(directory.path().join("log")).map_err(io_error("making a log"))?;
        let errors = log.try_clone().map_err(io_error("making a log"))?;
        let mut start = jars.java(&classes);
        start.arg("kafka.Kafka").arg(&config).stdin(Stdio::null()).stdout(log).stderr(errors);
        let kafka = start.spawn().map_err(io_error("starting java"))?;
        let mut oracle = Oracle { kafka, address, directory };
        oracle.wait_until_ready()?;
        Ok(oracle)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait_until_ready(&mut self) -> Result<(), OracleError> {
        let started = Instant::now();
        loop {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            if log.contains(STARTED) {
                return Ok(());
            }
            let ended = self.kafka.try_wait().map_err(io_error("waiting for Kafka"))?.is_some();
            if ended || started.elapsed() > START_LIMIT {
                return Err(OracleError::Failed { doing: "starting Kafka".to_owned(), output: tail(&log) });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The directory goes away with it, so there is nothing that a clean shutdown would save.
        let _ = self.kafka.kill();
        let _ = self.kafka.wait();
    }
}

fn properties(profile: Profile, directory: &Path, broker: u16, controller: u16) -> String {
    let listeners = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let settings: String = profile.settings().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!(
        "{settings}\nlisteners={listeners}\nadvertised.listeners={listeners}\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n",
        directory.join("data").display()
    )
}

/// Two ports that nobody listens on: both are held until both are known.
fn free_ports() -> io::Result<(u16, u16)> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

fn run(mut program: Command, doing: &str) -> Result<String, OracleError> {
    let output = program.stdin(Stdio::null()).output().map_err(io_error(doing))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output = tail(&(stdout + &String::from_utf8_lossy(&output.stderr)));
    Err(OracleError::Failed { doing: doing.to_owned(), output })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn io_error(doing: &str) -> impl Fn(io::Error) -> OracleError {
    let doing = doing.to_owned();
    move |error| OracleError::Io { doing: doing.clone(), error }
}
