//! The scripts of `bin/`: Kafka's names and flags over this binary, run as a user of Kafka's would.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A node that `kafka-server-start.sh` runs; stopped as one stops the script.
struct Node {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

fn script(name: &str) -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bin").join(name);
    let mut command = Command::new(path);
    command.env("MILENA", env!("CARGO_BIN_EXE_milena")).stdin(Stdio::null());
    command
}

impl Node {
    /// Formats a directory and starts a node on it, both by script.
    fn start() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.properties");
        let data = folder.path().join("data");
        let settings = format!(
            "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n",
            data.display()
        );
        std::fs::write(&file, settings).unwrap();
        let id = stdout(&script("kafka-storage.sh").arg("random-uuid").output().unwrap());
        assert_eq!((id.trim().len(), id.starts_with('-')), (22, false), "{id}");
        let format = |more: &[&str]| {
            let arguments = ["format", "--standalone", "-t", id.trim(), "-c"];
            script("kafka-storage.sh").args(arguments).arg(&file).args(more).output().unwrap()
        };
        assert!(stdout(&format(&[])).contains(id.trim()));
        assert_eq!(refusal(&format(&[])).0, 1, "it is formatted already");
        assert!(stdout(&format(&["--ignore-formatted"])).contains("already formatted"));
        let info = stdout(&script("kafka-storage.sh").args(["info", "-c"]).arg(&file).output().unwrap());
        assert!(info.contains(&format!("cluster.id={}", id.trim())) && info.contains("node.id=7"), "{info}");
        let mut process = script("kafka-server-start.sh")
            .arg(&file)
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.next().expect("a first line");
        let address = ready.strip_prefix("ready ").expect("it is ready").to_owned();
        let told = lines.next().expect("a second line");
        assert!(told.contains("[KafkaRaftServer nodeId=7] Kafka Server started"), "{told}");
        Node { process, address, folder }
    }

    fn run_with(&self, name: &str, arguments: &[&str], input: &str) -> Output {
        let mut process = script(name)
            .args(["--bootstrap-server", &self.address])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A script that refuses its arguments does not read.
        process.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        process.wait_with_output().unwrap()
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        stdout(&self.run_with(name, arguments, ""))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn quotas_are_set_by_kafkas_script() {
    let node = Node::start();
    let configs = |arguments: &[&str]| node.run("kafka-configs.sh", arguments);
    let rate = ["--alter", "--add-config", "producer_byte_rate=1024,request_percentage=50"];
    configs(&[&rate[..], &["--entity-type", "clients", "--entity-default"]].concat());
    configs(
        &[&rate[..], &["--entity-type=users", "--entity-name=ann", "--entity-type=clients", "--entity-name=till"]]
            .concat(),
    );
    configs(&["--alter", "--ip-defaults", "--add-config", "connection_creation_rate=9"]);
    let all = configs(&["--describe", "--entity-type", "clients"]);
    assert!(all.contains("any client-id") && all.contains("producer_byte_rate=1024"), "{all}");
    assert!(all.contains("client-id till, user ann") && all.contains("any ip"), "{all}");
    let one = configs(&["--describe", "--user", "ann", "--client", "till"]);
    assert!(one.contains("client-id till, user ann") && !one.contains("any"), "{one}");
    configs(&["--alter", "--client-defaults", "--delete-config", "producer_byte_rate,request_percentage"]);
    assert!(!configs(&["--describe", "--client-defaults"]).contains("any client-id"));
    for unfinished in [&["--alter", "--entity-type", "clients"][..], &["--describe", "--entity-type", "topics"]] {
        assert_eq!(refusal(&node.run_with("kafka-configs.sh", unfinished, "")).0, 1);
    }
}

#[test]
fn a_user_of_kafkas_scripts_gets_along() {
    let node = Node::start();
    let create =
        ["--create", "--topic", "t", "--partitions", "2", "--replication-factor=1", "--config", "retention.ms=1000000"];
    assert!(node.run("kafka-topics.sh", &create).contains("created"));
    assert_eq!(refusal(&node.run_with("kafka-topics.sh", &create, "")).0, 1, "it is there");
    node.run("kafka-topics.sh", &[&create[..], &["--if-not-exists"]].concat());
    assert_eq!(node.run("kafka-topics.sh", &["--list"]), "t\n");
    assert!(node.run("kafka-topics.sh", &["--describe", "--topic", "t"]).contains('t'));
    node.run("kafka-topics.sh", &["--alter", "--topic", "t", "--partitions", "3"]);

    let keyed = ["--topic", "t", "--property", "parse.key=true", "--property", "key.separator=:"];
    assert_eq!(stdout(&node.run_with("kafka-console-producer.sh", &keyed, "k:one\nk:two\nk:three\n")), "");
    let consume = ["--topic", "t", "--from-beginning", "--max-messages", "3", "--property", "print.key=true"];
    assert_eq!(node.run("kafka-console-consumer.sh", &consume), "k\tone\nk\ttwo\nk\tthree\n");
    let grouped = ["--topic", "t", "--from-beginning", "--max-messages=2", "--group", "g"];
    assert_eq!(node.run("kafka-console-consumer.sh", &grouped), "one\ntwo\n");

    let ends = node.run("kafka-get-offsets.sh", &["--topic", "t"]);
    let of_key = ends.lines().find(|line| line.ends_with(":3")).expect("the key's partition");
    let partition = of_key.split(':').nth(1).unwrap();
    assert_eq!(ends.lines().count(), 3, "{ends}");
    assert!(
        node.run("kafka-get-offsets.sh", &["--topic", "t", "--time", "earliest"]).contains(&format!("t:{partition}:0"))
    );
    let file = node.folder.path().join("delete.json");
    let json = format!(r#"{{"partitions":[{{"topic":"t","partition":{partition},"offset":1}}],"version":1}}"#);
    std::fs::write(&file, json).unwrap();
    node.run("kafka-delete-records.sh", &["--offset-json-file", file.to_str().unwrap()]);
    assert!(node.run("kafka-get-offsets.sh", &["--topic", "t", "--time", "-2"]).contains(&format!("t:{partition}:1")));

    assert_eq!(node.run("kafka-consumer-groups.sh", &["--list"]), "g\n");
    let reset = ["--reset-offsets", "--group", "g", "--topic", "t", "--to-latest"];
    let lag = || node.run("kafka-consumer-groups.sh", &["--describe", "--group", "g"]);
    let before = lag();
    node.run("kafka-consumer-groups.sh", &reset);
    assert_eq!(lag(), before, "without --execute nothing is changed");
    node.run("kafka-consumer-groups.sh", &[&reset[..], &["--execute"]].concat());
    assert_ne!(lag(), before);
    node.run("kafka-consumer-groups.sh", &["--delete", "--group", "g"]);
    assert_eq!(node.run("kafka-consumer-groups.sh", &["--list"]), "");

    let topic = ["--entity-type", "topics", "--entity-name", "t"];
    let change = [
        "--alter",
        "--add-config",
        "cleanup.policy=[compact,delete],segment.ms=60000",
        "--delete-config",
        "retention.ms",
    ];
    node.run("kafka-configs.sh", &[&change[..], &topic[..]].concat());
    let configs = node.run("kafka-configs.sh", &[&["--describe"][..], &topic[..]].concat());
    assert!(
        configs.contains("compact,delete") && configs.contains("60000") && !configs.contains("retention.ms"),
        "{configs}"
    );
    assert!(
        node.run("kafka-configs.sh", &["--describe", "--entity-type", "brokers", "--entity-name", "7"])
            .contains("node.id")
    );
    node.run("kafka-topics.sh", &["--delete", "--topic", "t"]);
}

#[test]
fn a_user_of_kafkas_script_for_transactions_gets_along() {
    let node = Node::start();
    let produce = ["produce", "t", "--transactional-id", "id", "-b", &node.address];
    let mut producer = Command::new(env!("CARGO_BIN_EXE_milena")).args(produce).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = producer.stdin.take().unwrap();
    lines.write_all(b"one\n").unwrap();
    let list = |more: &[&str]| node.run("kafka-transactions.sh", &[&["list"][..], more].concat());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !list(&[]).contains("Ongoing") {
        assert!(std::time::Instant::now() < until, "the transaction does not begin");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!list(&["--duration-filter", "600000"]).contains("Ongoing"));
    assert!(list(&["--duration-filter", "-1", "--transactional-id-pattern", "i."]).contains("Ongoing"));
    let describe = ["describe", "--transactional-id", "id"];
    assert!(node.run("kafka-transactions.sh", &describe).contains("t-0"));
    let described = node.run("kafka-transactions.sh", &["describe-producers", "--topic", "t", "--partition", "0"]);
    assert_eq!(described.lines().count(), 2, "{described}");
    for scope in [&["--topic", "t", "--partition", "0"][..], &["--broker-id", "7", "--max-transaction-timeout", "1"]] {
        let found = node.run("kafka-transactions.sh", &[&["find-hanging"][..], scope].concat());
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    let abort = ["abort", "--topic", "t", "--partition", "0", "--start-offset", "5"];
    assert_eq!(refusal(&node.run_with("kafka-transactions.sh", &abort, "")).0, 1);
    node.run("kafka-transactions.sh", &["forceTerminateTransaction", "--transactionalId", "id"]);
    assert!(list(&[]).contains("Empty"));
    drop(lines);
    assert_eq!(producer.wait().unwrap().code(), Some(1), "it is fenced");
}

#[test]
fn what_a_script_does_not_do_is_refused_plainly() {
    for (name, arguments) in [
        ("kafka-topics.sh", &["--create", "--topic", "t", "--replica-assignment", "1:2"][..]),
        (
            "kafka-configs.sh",
            &[
                "--describe",
                "--entity-type",
                "client-metrics",
                "--entity-name",
                "m",
                "--bootstrap-server",
                "127.0.0.1:1",
            ],
        ),
        ("kafka-consumer-groups.sh", &["--describe", "--state"]),
        ("kafka-console-producer.sh", &["--topic", "t", "--producer-property", "a=b"]),
        ("kafka-console-consumer.sh", &["--topic", "t", "--property", "print.timestamp=true"]),
        ("kafka-get-offsets.sh", &["--topic", "t", "--time", "-3"]),
        ("kafka-delete-records.sh", &["--command-config", "x"]),
        ("kafka-transactions.sh", &["list", "--command-config", "x"]),
        ("kafka-storage.sh", &["format", "--add-scram", "x"]),
        ("kafka-server-start.sh", &["/dev/null", "--version"]),
    ] {
        let (code, message) = refusal(&script(name).args(arguments).output().unwrap());
        assert!(
            code == 1 && message.starts_with(name) && message.contains("not supported"),
            "{name}: {code} {message}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let (code, message) = refusal(&script("kafka-topics.sh").args(["--list", "--bootstrap-server"]).output().unwrap());
    assert!(code == 1 && message.contains("wants a value"), "{message}");
}
