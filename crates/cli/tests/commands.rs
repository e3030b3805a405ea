//! The binary as people and scripts use it: a server of its own for each test, commands, their output and exit codes.

mod server;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use milena_client::transport::{Address, Connection, ConnectionSettings, TcpDialer};
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, FindCoordinatorRequest};
use serde_json::Value;
use server::{Server, failure, milena, stdout};

#[test]
fn records_come_back_with_keys_and_headers() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]);
    let record = r#"{"key":"k","value":"v","headers":{"h":"x"},"partition":1,"timestamp":5}"#;
    stdout(&server.run_with(&["produce", "t", "--format", "json"], record));
    let consumed = server.run(&["consume", "t", "--from-beginning", "-n", "1", "--output", "json"]);
    let consumed: Value = serde_json::from_str(&consumed).unwrap();
    assert_eq!(
        consumed,
        serde_json::json!({
            "topic": "t", "partition": 1, "offset": 0, "timestamp": 5, "key": "k", "value": "v",
            "headers": [["h", "x"]],
        })
    );
}

/// Beats as the only member of a group of the new protocol, until its coordinator is there.
fn beat(server: &Server, member_epoch: i32) {
    let address = Address::list(&server.address).unwrap().remove(0);
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "new".to_owned(),
        member_id: "m".to_owned(),
        member_epoch,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let asking = async {
        let connection = Connection::open(&TcpDialer, &address, ConnectionSettings::default()).await.unwrap();
        let coordinator = FindCoordinatorRequest { coordinator_keys: vec!["new".to_owned()], ..Default::default() };
        for _ in 0..100 {
            connection.call(&coordinator).await.unwrap();
            if connection.call(&request).await.unwrap().error_code == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the group has no coordinator");
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asking);
}

#[test]
fn a_group_of_the_new_protocol_is_described_reset_and_deleted_like_any_other() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]);
    stdout(&server.run_with(&["produce", "t", "--partition", "1"], "1\n2\n3\n"));
    beat(&server, 0);
    let describe =
        || -> Value { serde_json::from_str(&server.run(&["group", "describe", "new", "--output", "json"])).unwrap() };
    let described = describe();
    assert_eq!(
        (&described["state"], &described["assignor"], &described["members"]),
        (&"Stable".into(), &"uniform".into(), &1.into())
    );
    let held: Vec<&Value> = described["partitions"].as_array().unwrap().iter().map(|part| &part["member"]).collect();
    assert_eq!(held, ["m", "m"]);
    let reset = ["group", "reset", "new", "--to-latest", "--topic", "t", "--execute"];
    let (code, message) = failure(&server.run_with(&reset, ""));
    assert!(code == 1 && message.contains("has members and is stable"), "{message}");
    assert_eq!(failure(&server.run_with(&["group", "delete", "new"], "")).0, 1);
    beat(&server, -1);
    server.run(&reset);
    assert_eq!(describe()["partitions"][1]["committed_offset"], 3);
    let listed: Value = serde_json::from_str(&server.run(&["group", "list", "--output", "json"])).unwrap();
    assert_eq!(listed[0]["type"], "consumer");
    server.run(&["group", "delete", "new"]);
    assert_eq!(failure(&server.run_with(&["group", "describe", "new"], "")).0, 1);
}

#[test]
fn a_group_goes_on_where_it_has_been_and_can_be_reset() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    stdout(&server.run_with(&["produce", "t"], "1\n2\n3\n4\n"));
    let consume = ["consume", "t", "--group", "g", "--from-beginning", "-n", "2"];
    assert_eq!(server.run(&consume), "1\n2\n");
    assert_eq!(server.run(&consume), "3\n4\n");
    server.run(&["group", "reset", "g", "--to-offset", "1", "--execute"]);
    let described: Value = serde_json::from_str(&server.run(&["group", "describe", "g", "--output", "json"])).unwrap();
    assert_eq!(described["partitions"][0]["committed_offset"], 1);
    assert_eq!(described["partitions"][0]["lag"], 3);
    assert_eq!(server.run(&consume), "2\n3\n");
    server.run(&["group", "delete", "g"]);
    assert_eq!(failure(&server.run_with(&["group", "describe", "g"], "")).0, 1);
}

#[test]
fn a_group_misses_nothing_of_a_partition_that_it_has_not_begun_to_print() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]);
    let records =
        ["0", "1"].map(|partition| format!("{{\"value\":\"v{partition}\",\"partition\":{partition}}}\n")).concat();
    stdout(&server.run_with(&["produce", "t", "--format", "json"], &records));
    let first = server.run(&["consume", "t", "--group", "g", "--from-beginning", "-n", "1"]);
    // The reset policy of the second run is the end.
    let second = server.run(&["consume", "t", "--group", "g", "-n", "1", "--timeout-ms", "10000"]);
    let mut both = [first.as_str(), second.as_str()];
    both.sort_unstable();
    assert_eq!(both, ["v0\n", "v1\n"]);
}

/// Where each partition of a reset goes.
fn moved(server: &Server, arguments: &[&str]) -> Vec<i64> {
    let printed = server.run(&[&["group", "reset", "g", "--output", "json"], arguments].concat());
    let rows: Value = serde_json::from_str(&printed).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["to"].as_i64().unwrap()).collect()
}

#[test]
fn a_group_is_reset_by_every_strategy_of_kafkas_tool() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]);
    let record =
        |partition, timestamp| format!("{{\"value\":\"v\",\"partition\":{partition},\"timestamp\":{timestamp}}}\n");
    let records: String = [(0, 1000), (0, 2000), (0, 3000), (1, 1000)].map(|(at, time)| record(at, time)).concat();
    stdout(&server.run_with(&["produce", "t", "--format", "json"], &records));
    server.run(&["group", "reset", "g", "--topic", "t", "--to-latest", "--execute"]);

    assert_eq!(moved(&server, &["--to-earliest"]), [0, 0]);
    assert_eq!(moved(&server, &["--to-current"]), [3, 1], "and nothing was stored by the one before");
    assert_eq!(moved(&server, &["--to-datetime", "1970-01-01T00:00:02.000"]), [1, 1]);
    assert_eq!(moved(&server, &["--by-duration", "P1D"]), [3, 1]);
    assert_eq!(moved(&server, &["--by-duration", "P36500D"]), [0, 0]);
    assert_eq!(moved(&server, &["--shift-by", "-2"]), [1, 0]);
    assert_eq!(moved(&server, &["--topic", "t:0", "--to-offset", "2"]), [2]);
    assert_eq!(moved(&server, &["--topic", "t", "--to-offset", "99"]), [3, 1], "never outside of the log");

    let exported = server.run(&["group", "reset", "g", "--shift-by", "-1", "--export"]);
    assert_eq!(exported, "t,0,2\nt,1,0\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("offsets.csv");
    std::fs::write(&file, exported).unwrap();
    assert_eq!(moved(&server, &["--from-file", file.to_str().unwrap(), "--execute"]), [2, 0]);
    assert_eq!(moved(&server, &["--to-current", "--all-topics"]), [2, 0]);
}

#[test]
fn a_reset_says_what_keeps_it_from_its_work() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    let refused = |arguments: &[&str]| failure(&server.run_with(&[&["group", "reset", "g"], arguments].concat(), ""));
    let (code, message) = refused(&["--to-earliest"]);
    assert!(code == 1 && message.contains("--topic"), "{message}");
    let (code, message) = refused(&["--to-earliest", "--topic", "t:5"]);
    assert!(code == 1 && message.contains("no partition 5"), "{message}");
    let (code, message) = refused(&["--to-earliest", "--topic", "t", "--partition", "9"]);
    assert!(code == 1 && message.contains("partition of these numbers"), "{message}");
    let (code, message) = refused(&["--shift-by", "1", "--topic", "t"]);
    assert!(code == 1 && message.contains("--to-earliest"), "{message}");
    let (code, message) = refused(&["--from-file", "/nowhere"]);
    assert!(code == 2 && message.contains("/nowhere: there is no such file"), "{message}");
    let both = server.run_with(&["group", "reset", "g", "--to-earliest", "--execute", "--dry-run"], "");
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn offsets_of_a_group_are_deleted_one_by_one() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "2"]);
    server.run(&["group", "reset", "g", "--topic", "t", "--to-latest", "--execute"]);
    let deleted: Value =
        serde_json::from_str(&server.run(&["group", "delete-offsets", "g", "-t", "t:1", "--output", "json"])).unwrap();
    assert_eq!(deleted, serde_json::json!([{"topic": "t", "partition": 1, "offset": 0}]));
    let described: Value = serde_json::from_str(&server.run(&["group", "describe", "g", "--output", "json"])).unwrap();
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(1));
    let (code, message) = failure(&server.run_with(&["group", "delete-offsets", "g", "-t", "t:1"], ""));
    assert!(code == 1 && message.contains("group describe g"), "{message}");
}

#[test]
fn exit_codes_tell_failures_apart() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]);
    let (code, message) = failure(&server.run_with(&["topic", "create", "t"], ""));
    assert!(code == 1 && message.contains("TOPIC_ALREADY_EXISTS"), "{code}: {message}");
    let (code, message) = failure(&server.run_with(&["consume", "missing", "-n", "1"], ""));
    assert!(code == 1 && message.contains("milena topic create"), "{code}: {message}");
    let unreachable = milena().args(["topic", "list", "-b", "127.0.0.1:1"]).output().unwrap();
    let (code, message) = failure(&unreachable);
    assert!(code == 3 && message.contains("milena server"), "{code}: {message}");
    assert_eq!(milena().args(["topic", "paint"]).output().unwrap().status.code(), Some(2));
    assert_eq!(failure(&milena().args(["topic", "list", "-b", "nowhere"]).output().unwrap()).0, 2);
}

#[test]
fn settings_of_a_topic_are_changed_and_shown() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--config", "retention.ms=1000"]);
    server.run(&["config", "alter", "--topic", "t", "--set", "max.message.bytes=2000", "--delete", "retention.ms"]);
    let shown: Value = serde_json::from_str(&server.run(&["topic", "describe", "t", "--output", "json"])).unwrap();
    assert_eq!(shown[0]["configs"], serde_json::json!({"max.message.bytes": "2000"}));
    let too_large = "x".repeat(3000);
    let (code, message) = failure(&server.run_with(&["produce", "t"], &too_large));
    assert!(code == 1 && message.contains("MESSAGE_TOO_LARGE"), "{code}: {message}");
}

#[test]
fn a_large_record_goes_through_where_its_topic_takes_it() {
    let server = Server::start();
    server.run(&["topic", "create", "large", "--config", "max.message.bytes=4000000"]);
    server.run(&["topic", "create", "usual"]);
    let record = "x".repeat(3_000_000);
    stdout(&server.run_with(&["produce", "large"], &record));
    assert_eq!(server.run(&["consume", "large", "--from-beginning", "-n", "1"]).len(), 3_000_001);
    let (code, message) = failure(&server.run_with(&["produce", "usual"], &format!("small\n{record}\n")));
    assert!(code == 1 && message.contains("line 2: ") && message.contains("max.message.bytes=1048588"), "{message}");
    assert_eq!(server.run(&["consume", "usual", "--from-beginning", "-e"]), "small\n", "what came before is sent");
    stdout(&server.run_with(&["produce", "usual", "--compression", "zstd"], &record));
}

#[test]
fn bytes_that_are_no_text_come_back_whole() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--partitions", "1"]);
    let record = r#"{"key_base64":"AP8=","value_base64":"/w==","headers_base64":[["aA==",null],["aQ==","gA=="]]}"#;
    stdout(&server.run_with(&["produce", "t", "--format", "json"], record));
    let consumed = server.run(&["consume", "t", "--from-beginning", "-n", "1", "--output", "json"]);
    let read: Value = serde_json::from_str(&consumed).unwrap();
    assert_eq!((&read["key_base64"], &read["value_base64"]), (&Value::from("AP8="), &Value::from("/w==")));
    assert_eq!(read["headers_base64"], serde_json::json!([["aA==", null], ["aQ==", "gA=="]]));
    assert!(read.get("key").is_none() && read.get("headers").is_none(), "{read}");
    stdout(&server.run_with(&["produce", "t", "--format", "json"], &consumed));
    let again = server.run(&["consume", "t", "--from-beginning", "-n", "2", "--output", "json"]);
    let again: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(again["headers_base64"], read["headers_base64"]);
    let raw = server.run_with(&["consume", "t", "--from-beginning", "-n", "1"], "").stdout;
    assert_eq!(raw, [0xff, b'\n']);
}

#[test]
fn trap_105_the_server_opens_as_many_files_as_it_may() {
    let data = tempfile::tempdir().unwrap();
    let mut process = std::process::Command::new("sh")
        .args(["-c", "ulimit -Sn 200; exec \"$0\" server --listen 127.0.0.1:0 --data-dir \"$1\""])
        .args([env!("CARGO_BIN_EXE_milena"), data.path().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(line.starts_with("ready "), "{line}");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line of Linux");
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_ne!(numbers[1], "200", "this machine allows no more, so nothing is shown: {files}");
    assert_eq!(numbers[0], numbers[1], "the soft limit is the hard one: {files}");
}

#[test]
fn a_broker_that_is_not_there_is_told_at_once() {
    let server = Server::start();
    let started = std::time::Instant::now();
    for change in [&["describe"][..], &["alter", "--set", "log.cleaner.threads=2"]] {
        let arguments = [&["config"], change, &["--broker", "7"]].concat();
        let (code, message) = failure(&server.run_with(&arguments, ""));
        assert!(code == 1 && message.contains("there is no broker 7; there is 1"), "{code}: {message}");
    }
    server.run(&["topic", "create", "t"]);
    let arguments = ["transaction", "describe-producers", "t:0", "--broker", "7"];
    let (code, message) = failure(&server.run_with(&arguments, ""));
    assert!(code == 1 && message.contains("there is no broker 7; there is 1"), "{code}: {message}");
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[test]
fn a_group_that_cannot_be_is_told_after_a_while() {
    let server = Server::start_with(&["offsets.topic.replication.factor=3"]);
    server.run(&["topic", "create", "t"]);
    let consume = ["consume", "t", "--group", "g", "--join-timeout-ms", "1500"];
    let (code, message) = failure(&server.run_with(&consume, ""));
    assert!(code == 1 && message.contains("COORDINATOR_NOT_AVAILABLE;"), "{code}: {message}");
    assert!(message.contains("offsets.topic.replication.factor=1"), "{message}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]);
    stdout(&server.run_with(&["produce", "t"], "first\nsecond\n"));
    let mut consume = milena()
        .args(["consume", "t", "--from-beginning", "-b", &server.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(consume.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The pipe is closed here; the command would else wait for more records for ever.
    let ended = consume.wait_with_output().unwrap();
    assert_eq!((line.as_str(), ended.status.code(), ended.stderr.len()), ("first\n", Some(0), 0));
}

#[test]
fn the_demo_shows_that_every_event_arrives_once_and_in_order() {
    let output = milena().args(["demo", "--events", "20000", "--output", "json"]).output().unwrap();
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["received"], 20_000);
    assert_eq!((&summary["exactly_once"], &summary["ordered"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
fn the_demo_ends_with_lines_that_people_read() {
    let output = milena().args(["demo", "--events", "1000"]).output().unwrap();
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("events sent           1000 "), "{text}");
    assert!(lines.contains(&"each exactly once     yes") && lines.contains(&"What to try next:"), "{text}");
}

#[test]
fn the_demo_goes_on_though_nobody_reads_what_it_tells() {
    let mut demo = milena();
    let demo =
        demo.args(["demo", "--events", "20000", "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    drop(demo.stderr.take());
    assert_eq!(demo.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn the_demo_sends_the_users_events_and_tells_bad_lines() {
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), "{\"user_id\":\"a\"}\nno event\n{\"user_id\":1}\n").unwrap();
    let output = milena().args(["demo", "--output", "json", "--input"]).arg(input.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["received"], &summary["bad_lines"]), (&Value::from(2), &Value::from(1)));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("line 2: "), "{message}");
}

#[test]
fn an_advertised_address_that_nobody_reaches_is_told_at_once() {
    // Behind the one door is nobody, behind the other nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let all = [&["topic", "list"][..], &["produce", "t"], &["consume", "t"], &["config", "describe", "--brokers"]];
    for (address, commands) in [("127.0.0.1:1", &all[..]), (&silent_address, &all[..1])] {
        let server = Server::start_with(&[&format!("advertised.listeners=PLAINTEXT://{address}")]);
        for command in commands {
            let started = std::time::Instant::now();
            let (code, message) = failure(&server.run_with(command, ""));
            assert!(code == 3 && message.contains(&format!("{address} (broker 1)")), "{code}: {message}");
            assert!(message.contains(&server.address) && message.contains("advertised.listeners"), "{message}");
            assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        }
    }
}

#[test]
fn options_that_make_no_sense_are_told_before_anybody_is_asked() {
    let told = |arguments: &[&str]| {
        let output = milena().args(arguments).args(["-b", "127.0.0.1:1"]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        message
    };
    let least_one = [
        &["consume", "t", "-n", "-1"][..],
        &["consume", "t", "-n", "0"],
        &["topic", "create", "t", "--partitions", "0"],
        &["topic", "create", "t", "--replication-factor", "-1"],
        &["topic", "alter", "t", "--partitions", "-1"],
        &["bench", "produce", "t", "-n", "0"],
    ];
    for arguments in least_one {
        assert!(told(arguments).contains("it must be at least 1"), "{arguments:?}");
    }
    assert!(told(&["produce", "t", "-p", "-1"]).contains("it must be at least 0"));
    assert!(told(&["consume", "t", "-n", "many"]).contains("it is no whole number"));
    for topic in ["", "a b", ".."] {
        for command in
            [&["topic", "create"][..], &["topic", "delete"], &["produce"], &["consume"], &["bench", "produce"]]
        {
            assert!(told(&[command, &[topic]].concat()).contains("a topic's name has"), "{command:?} {topic}");
        }
    }
    for command in [&["group", "describe", ""][..], &["group", "delete", ""], &["consume", "t", "--group", ""]] {
        assert!(told(command).contains("an id is not empty"), "{command:?}");
    }
}

#[test]
fn files_that_are_not_there_are_wrong_usage_whoever_wants_them() {
    let wanting = [
        &["produce", "t", "/nowhere"][..],
        &["topic", "delete-records", "--file", "/nowhere"],
        &["group", "reset", "g", "--from-file", "/nowhere"],
        &["demo", "--input", "/nowhere"],
    ];
    let server = Server::start();
    for arguments in wanting {
        let (code, message) = failure(&server.run_with(arguments, ""));
        assert_eq!(
            (code, message.as_str()),
            (2, "error: cannot read /nowhere: there is no such file\n"),
            "{arguments:?}"
        );
    }
    for command in ["server", "format"] {
        let (code, message) = failure(&milena().args([command, "--config", "/nowhere"]).output().unwrap());
        assert_eq!((code, message.as_str()), (2, "error: cannot read /nowhere: there is no such file\n"), "{command}");
    }
}

#[test]
fn commands_that_speak_to_no_broker_do_not_take_one() {
    for command in ["server", "format", "docs"] {
        let help = stdout(&milena().args([command, "--help"]).output().unwrap());
        assert!(!help.contains("--bootstrap"), "{help}");
    }
    let (code, message) = failure(&milena().args(["docs", "--json", "-b", "127.0.0.1:1"]).output().unwrap());
    assert!(code == 2 && message.contains("speaks to no broker"), "{code}: {message}");
    assert!(stdout(&milena().args(["topic", "list", "--help"]).output().unwrap()).contains("--bootstrap"));
}

#[test]
fn a_place_to_listen_at_that_is_none_is_told_in_words() {
    for (place, told) in [("nonsense", "must be HOST:PORT"), ("127.0.0.1:99999", "is no port")] {
        let output = milena().args(["server", "--listen", place]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && message.contains(told), "{message}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_told_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (dir, why) in
        [(file.clone(), "is a file"), (file.join("below"), "is a file"), ("/proc/none".into(), "cannot be made")]
    {
        let output = milena().args(["server", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&dir).output().unwrap();
        let (code, message) = failure(&output);
        assert!(code == 1 && message.contains(dir.to_str().unwrap()) && message.contains(why), "{code}: {message}");
        assert!(message.contains("--data-dir") && !message.contains("os error"), "{message}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_told_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (address, why) in
        [(taken.as_str(), "another process listens there"), ("192.0.2.1:9092", "does not have that address")]
    {
        let directory = tempfile::tempdir().unwrap();
        let mut server = milena();
        let output = server.args(["server", "--listen", address, "--data-dir"]).arg(directory.path()).output().unwrap();
        let (code, message) = failure(&output);
        assert!(code == 1 && message.contains(address) && message.contains(why), "{code}: {message}");
    }
}

#[test]
fn a_bench_of_a_few_records_tells_no_rate() {
    let server = Server::start();
    let told = server.run(&["bench", "produce", "b", "-n", "5"]);
    assert!(told.starts_with("5 records in ") && told.contains("too few") && !told.contains("records/s"), "{told}");
    let measured: Value =
        serde_json::from_str(&server.run(&["bench", "consume", "b", "-n", "5", "--output", "json"])).unwrap();
    assert!(measured["records"] == 5 && measured.get("records_per_second").is_none(), "{measured}");
    let told = server.run(&["bench", "produce", "b", "-n", "2000"]);
    assert!(told.contains("records/s") && told.contains("p99.9"), "{told}");
}

#[test]
fn a_node_that_takes_no_more_connections_is_not_told_to_advertise_others() {
    let server = Server::start_with(&["max.connections.per.ip=1"]);
    // The broker answers the first connection, and closes the next, which is to where it is advertised.
    let list = || failure(&server.run_with(&["topic", "list"], ""));
    let behind_bootstrap = list();
    let _held = std::net::TcpStream::connect(&server.address).unwrap();
    for (code, message) in [behind_bootstrap, list()] {
        assert_eq!(code, 3, "{message}");
        assert!(message.contains("max.connections") && !message.contains("advertised"), "{message}");
        assert!(!message.contains("start a broker"), "{message}");
    }
}

#[test]
fn names_that_would_move_the_cursor_are_shown_harmless_and_kept_in_json() {
    let server = Server::start();
    let name = "a\u{1b}[2Jb";
    server.run(&["quota", "alter", "--user", name, "-s", "producer_byte_rate=1"]);
    let table = server.run(&["quota", "describe"]);
    assert!(table.contains("user a\\u{1b}[2Jb") && !table.contains('\u{1b}'), "{table}");
    let exact: Value = serde_json::from_str(&server.run(&["quota", "describe", "--output", "json"])).unwrap();
    assert_eq!(exact[0]["entity"]["user"], name);
    let refused = server.run_with(&["config", "alter", "--topic", "t", "-s", "max.message.bytes=\u{1b}[2J"], "");
    assert!(!String::from_utf8_lossy(&refused.stderr).contains('\u{1b}'), "{refused:?}");
}
