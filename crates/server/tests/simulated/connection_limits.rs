//! Limits of connections: one too many waits at its listener, or is ended at once where its address has its share.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::messages::ApiVersionsRequest;
use milena_server::Running;
use tokio::time::{Duration, Instant, timeout};

use crate::client::{Client, node_with};
use crate::dynamic_settings::{ALL, OWN, change};
use crate::metrics::told;
use crate::world::{Network, SimWorld};

const PORT: u16 = 9001;
/// Clients come in by the first, brokers by the second.
const TWO: [(&str, &str); 3] = [
    ("listeners", "CLIENTS://127.0.0.1:9001,BROKERS://127.0.0.1:9002"),
    ("listener.security.protocol.map", "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("inter.broker.listener.name", "BROKERS"),
];
const A_MOMENT: Duration = Duration::from_millis(200);
/// Whoever waits for so long is not let in at all.
const LONG: Duration = Duration::from_secs(10);

async fn node(settings: &[(&str, &str)]) -> (Arc<Network>, Running<SimWorld>) {
    let network = Arc::new(Network::default());
    let running = node_with(&network, &MemoryDisk::new(), PORT, 1, settings).await;
    (network, running)
}

/// A client that has been answered.
async fn served(network: &Network, port: u16) -> Client {
    let mut client = Client::connect(network, port);
    client.tell(&ApiVersionsRequest::default(), 2).await;
    timeout(LONG, client.heard::<ApiVersionsRequest>(2)).await.expect("it is let in");
    client
}

/// A client that asks and is not answered yet.
async fn waiting(network: &Network, port: u16) -> Client {
    let mut client = Client::connect(network, port);
    client.tell(&ApiVersionsRequest::default(), 2).await;
    assert!(!is_answered(&mut client).await);
    client
}

async fn is_answered(client: &mut Client) -> bool {
    timeout(A_MOMENT, client.heard::<ApiVersionsRequest>(2)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn one_too_many_of_the_broker_waits_until_somebody_leaves() {
    let (network, running) = node(&[("max.connections", "2")]).await;
    let (first, _second) = (served(&network, PORT).await, served(&network, PORT).await);
    let mut third = waiting(&network, PORT).await;
    drop(first);
    assert!(is_answered(&mut third).await);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_may_have_more_from_now_on_lets_in_who_waits() {
    let (network, running) = node(&[("max.connections", "9")]).await;
    let mut first = served(&network, PORT).await;
    change(&mut first, ALL, &[("max.connections", Some("1"))]).await;
    let mut second = waiting(&network, PORT).await;
    change(&mut first, OWN, &[("max.connections", Some("2"))]).await;
    assert!(is_answered(&mut second).await, "this broker's own counts more");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_may_have_fewer_ends_those_that_were_silent_for_the_longest_time() {
    let (network, running) = node(&[]).await;
    let mut clients = [served(&network, PORT).await, served(&network, PORT).await, served(&network, PORT).await];
    for at in [1, 0, 2] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        clients[at].ask(&ApiVersionsRequest::default(), 2).await;
    }
    change(&mut clients[2], ALL, &[("max.connections", Some("2"))]).await;
    assert!(clients[1].is_cut_off().await);
    for at in [0, 2] {
        clients[at].ask(&ApiVersionsRequest::default(), 2).await;
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_too_many_of_a_listener_waits_and_others_do_not() {
    let settings = [&TWO[..], &[("listener.name.clients.max.connections", "1")]].concat();
    let (network, running) = node(&settings).await;
    let _first = served(&network, 9001).await;
    waiting(&network, 9001).await;
    served(&network, 9002).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_comes_in_where_clients_have_every_place_and_one_of_them_goes_for_it() {
    let settings = [&TWO[..], &[("max.connections", "2")]].concat();
    let (network, running) = node(&settings).await;
    let mut clients = [served(&network, 9001).await, served(&network, 9001).await];
    tokio::time::sleep(Duration::from_secs(1)).await;
    clients[0].ask(&ApiVersionsRequest::default(), 2).await;
    served(&network, 9002).await;
    assert!(clients[1].is_cut_off().await, "it was silent for longer");
    clients[0].ask(&ApiVersionsRequest::default(), 2).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_too_many_of_an_address_is_ended_at_once() {
    let (network, running) = node(&[("max.connections.per.ip", "1")]).await;
    let mut first = served(&network, PORT).await;
    assert!(Client::connect(&network, PORT).is_cut_off().await);
    change(&mut first, ALL, &[("max.connections.per.ip", Some("2"))]).await;
    served(&network, PORT).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_may_have_another_number_of_connections_than_others() {
    let (network, running) =
        node(&[("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "127.0.0.1:2,10.0.0.1:9")]).await;
    let (mut first, _second) = (served(&network, PORT).await, served(&network, PORT).await);
    assert!(Client::connect(&network, PORT).is_cut_off().await);
    change(&mut first, OWN, &[("max.connections.per.ip.overrides", Some("localhost:3"))]).await;
    tokio::time::sleep(A_MOMENT).await;
    served(&network, PORT).await;
    running.stop().await;
}

/// Opens so many connections one after the other, and says how long each of the last five waited.
async fn waits(network: &Network, port: u16, count: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        served(network, port).await;
        waits.push(begun.elapsed());
    }
    waits.split_off(count - 5)
}

#[tokio::test(start_paused = true)]
async fn connections_are_accepted_no_faster_than_the_broker_may() {
    let settings = [("max.connection.creation.rate", "1"), ("metrics.listen", "127.0.0.1:9404")];
    let (network, running) = node(&settings).await;
    // Ten in the ten seconds that count are no more than one a second.
    let fast = waits(&network, PORT, 10).await;
    assert!(fast.iter().all(|wait| *wait < A_MOMENT), "{fast:?}");
    let slow = waits(&network, PORT, 5).await;
    assert!(slow.iter().all(|wait| *wait >= Duration::from_millis(900)), "{slow:?}");
    let metric = "milena_throttled_total{quota=\"max.connection.creation.rate\"} ";
    let lines = told(&network).await;
    let times = lines.iter().find_map(|line| line.strip_prefix(metric)).expect("told");
    assert_eq!(times, "5");
    let mut client = served(&network, PORT).await;
    change(&mut client, ALL, &[("max.connection.creation.rate", Some("1000"))]).await;
    let fast = waits(&network, PORT, 5).await;
    assert!(fast.iter().all(|wait| *wait < A_MOMENT), "{fast:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn connections_are_accepted_no_faster_than_a_listener_may() {
    let (network, running) = node(&TWO).await;
    let mut client = served(&network, 9002).await;
    change(&mut client, ALL, &[("listener.name.clients.max.connection.creation.rate", Some("1"))]).await;
    let slow = waits(&network, 9001, 15).await;
    assert!(slow.iter().all(|wait| *wait >= Duration::from_millis(900)), "{slow:?}");
    let fast = waits(&network, 9002, 15).await;
    assert!(fast.iter().all(|wait| *wait < A_MOMENT), "{fast:?}");
    running.stop().await;
}
