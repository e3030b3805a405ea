//! Subscriptions for client metrics from the command line.

mod server;

use serde_json::{Value, json};
use server::{Server, failure};

fn asked(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&server.run(&[&["config", "--output", "json"], arguments].concat())).unwrap()
}

#[test]
fn a_subscription_is_made_listed_shown_and_gone() {
    let server = Server::start();
    assert_eq!(asked(&server, &["list", "--client-metrics"]), json!([]));
    let set = ["-s", "interval.ms=60000", "-s", "match=client_id=.*"];
    server.run(&[&["config", "alter", "--client-metrics", "s"], &set[..]].concat());
    server.run(&["config", "alter", "--client-metrics", "a", "-s", "metrics=org.apache.kafka"]);
    assert_eq!(asked(&server, &["list", "--client-metrics"]), json!([{"name": "a"}, {"name": "s"}]));
    let described = asked(&server, &["describe", "--client-metrics", "s"]);
    let shown: Vec<(&Value, &Value)> =
        described.as_array().unwrap().iter().map(|row| (&row["value"], &row["source"])).collect();
    let own = json!("client-metrics");
    assert_eq!(shown, [(&json!("60000"), &own), (&json!("client_id=.*"), &own)], "{described}");
    assert_eq!(server.run(&["config", "delete", "--client-metrics", "s"]), "2 changed\n");
    assert_eq!(asked(&server, &["list", "--client-metrics"]), json!([{"name": "a"}]));
    assert_eq!(server.run(&["config", "delete", "--client-metrics", "s"]), "0 changed\n");
}

#[test]
fn a_subscription_that_makes_no_sense_is_refused() {
    let server = Server::start();
    let refused = failure(&server.run_with(&["config", "alter", "--client-metrics", "s", "-s", "interval.ms=1"], ""));
    assert!(refused.0 == 1 && refused.1.contains("interval.ms"), "{refused:?}");
    assert_eq!(server.run_with(&["config", "list"], "").status.code(), Some(2));
}

#[test]
fn what_is_deleted_of_a_topic_are_its_own_settings_alone() {
    let server = Server::start();
    server.run(&["topic", "create", "t", "--config", "retention.ms=7", "--config", "segment.ms=60000"]);
    assert_eq!(server.run(&["config", "delete", "--topic", "t"]), "2 changed\n");
    let left = asked(&server, &["describe", "--topic", "t"]);
    assert!(left.as_array().unwrap().iter().all(|row| row["source"] != "topic"), "{left}");
}
