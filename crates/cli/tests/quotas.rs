//! Quotas from the command line.

mod server;

use serde_json::{Value, json};
use server::{Server, failure};

fn described(server: &Server, of: &[&str]) -> Value {
    serde_json::from_str(&server.run(&[&["quota", "describe", "--output", "json"], of].concat())).unwrap()
}

#[test]
fn quotas_are_set_shown_and_removed() {
    let server = Server::start();
    assert_eq!(described(&server, &[]), json!([]));
    let rates = ["-s", "producer_byte_rate=10000000", "-s", "request_percentage=12.5"];
    assert_eq!(server.run(&[&["quota", "alter", "--client-ids"], &rates[..]].concat()), "2 changed\n");
    server.run(&["quota", "alter", "--user", "ann", "--client-id", "till", "-s", "consumer_byte_rate=5"]);
    server.run(&["quota", "alter", "--ip", "127.0.0.9", "-s", "connection_creation_rate=100"]);
    let table = server.run(&["quota", "describe"]);
    assert!(table.contains("any client-id") && table.contains("producer_byte_rate=10000000"), "{table}");
    assert!(table.contains("client-id till, user ann"), "{table}");
    let of_ann = json!([{"entity": {"user": "ann", "client-id": "till"}, "quotas": {"consumer_byte_rate": 5.0}}]);
    assert_eq!(described(&server, &["--user", "ann"]), of_ann);
    let of_all =
        json!([{"entity": {"client-id": null}, "quotas": {"producer_byte_rate": 1e7, "request_percentage": 12.5}}]);
    assert_eq!(described(&server, &["--client-ids"]), of_all);
    server.run(&["quota", "alter", "--client-ids", "-d", "producer_byte_rate", "-d", "request_percentage"]);
    assert_eq!(described(&server, &["--client-ids"]), json!([]));
    assert_eq!(described(&server, &[]).as_array().unwrap().len(), 2);
}

#[test]
fn a_quota_set_here_acts_and_who_meets_it_is_told_when_it_ends() {
    let server = Server::start();
    server.run(&["quota", "alter", "--client-ids", "-s", "controller_mutation_rate=0.01"]);
    server.run(&["topic", "create", "a", "--partitions", "3"]);
    let started = std::time::Instant::now();
    let (code, message) = failure(&server.run_with(&["topic", "create", "b"], ""));
    assert!(code == 1 && message.contains("THROTTLING_QUOTA_EXCEEDED (the quota allows it in 2"), "{message}");
    assert!(started.elapsed().as_secs() < 20, "hopeless waits are not waited");
    let allowed = "controller_mutation_rate=1";
    server.run(&["quota", "alter", "--client-ids", "-s", allowed]);
    server.run(&["topic", "create", "c", "--partitions", "11"]);
    server.run(&["topic", "create", "d"]);
}

#[test]
fn what_makes_no_quota_is_refused() {
    let server = Server::start();
    let refused = |arguments: &[&str]| failure(&server.run_with(&[&["quota", "alter"], arguments].concat(), ""));
    let cases: [(&[&str], i32, &str); 4] = [
        (&["-s", "producer_byte_rate=1"], 2, "whose quota"),
        (&["--client-ids"], 2, "nothing to change"),
        (&["--client-ids", "-s", "speed=1"], 1, "speed"),
        (&["--ip", "no host", "-s", "connection_creation_rate=1"], 1, "no host"),
    ];
    for (arguments, code, message) in cases {
        let refused = refused(arguments);
        assert!(refused.0 == code && refused.1.contains(message), "{arguments:?}: {refused:?}");
    }
    let no_number = server.run_with(&["quota", "alter", "--client-ids", "-s", "producer_byte_rate=NaN"], "");
    assert_eq!(no_number.status.code(), Some(2));
}
