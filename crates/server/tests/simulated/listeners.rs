//! Several listeners of one node: whoever comes in by one is sent to addresses of the same one.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::messages::metadata_request::MetadataRequestTopic;
use milena_protocol::messages::{DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest};

use crate::client::{Client, node_with};
use crate::world::Network;

const SETTINGS: [(&str, &str); 4] = [
    ("listeners", "IN://127.0.0.1:9001,OUT://127.0.0.1:9002,HIDDEN://127.0.0.1:9003"),
    ("advertised.listeners", "IN://127.0.0.1:9001,OUT://far.example:99"),
    ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:PLAINTEXT,HIDDEN:PLAINTEXT"),
    ("inter.broker.listener.name", "IN"),
];

/// Where a client on `port` is sent to, and error, leader, leader epoch and replicas of its topic's partition.
async fn told(network: &Network, port: u16, version: i16) -> (Vec<(String, i32)>, (i16, i32, i32, Vec<i32>)) {
    let topic = MetadataRequestTopic { name: Some("t".to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let answer = Client::connect(network, port).ask(&request, version).await;
    let brokers = answer.brokers.into_iter().map(|broker| (broker.host, broker.port)).collect();
    let found = &answer.topics[0].partitions[0];
    (brokers, (found.error_code, found.leader_id, found.leader_epoch, found.replica_nodes.clone()))
}

#[tokio::test(start_paused = true)]
async fn trap_16_addresses_are_those_of_the_listener_that_one_came_in_by() {
    const LEADER_NOT_AVAILABLE: i16 = 5;
    const LISTENER_NOT_FOUND: i16 = 72;
    let network = Arc::new(Network::default());
    let node = node_with(&network, &MemoryDisk::new(), 9001, 5, &SETTINGS).await;
    Client::connect(&network, 9001).create("t", 1).await;
    for (port, host, advertised) in [(9001, "127.0.0.1", 9001), (9002, "far.example", 99)] {
        let (brokers, (error, leader, _, replicas)) = told(&network, port, 9).await;
        assert_eq!(brokers, [(host.to_owned(), advertised)]);
        assert_eq!((error, leader, replicas), (0, leader, vec![leader]));
    }
    // Nobody is advertised here: the leader is there, but out of reach. Its epoch and the replicas are told all the same.
    let (_, (_, own, epoch, _)) = told(&network, 9001, 9).await;
    for (version, error) in [(5, LEADER_NOT_AVAILABLE), (6, LISTENER_NOT_FOUND), (9, LISTENER_NOT_FOUND)] {
        let (brokers, partition) = told(&network, 9003, version).await;
        assert_eq!(brokers, [], "{version}");
        let epoch = if version >= 7 { epoch } else { -1 };
        assert_eq!(partition, (error, -1, epoch, vec![own]), "{version}");
    }
    node.stop().await;
}

/// Error, node and place of the coordinator of a group.
async fn coordinator(network: &Network, port: u16) -> (i16, i32, (String, i32)) {
    let request = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    let answer = Client::connect(network, port).ask(&request, 2).await;
    (answer.error_code, answer.node_id, (answer.host, answer.port))
}

/// Kafka 4.3.1 was asked the same by listeners like these.
#[tokio::test(start_paused = true)]
async fn coordinators_and_brokers_are_told_by_the_listener_that_one_came_in_by() {
    const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    let settings = [&SETTINGS[..], &[("offsets.topic.replication.factor", "1")]].concat();
    let network = Arc::new(Network::default());
    let node = node_with(&network, &MemoryDisk::new(), 9001, 5, &settings).await;
    while coordinator(&network, 9001).await.0 != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut told = Vec::new();
    for port in [9001, 9002, 9003] {
        let found = coordinator(&network, port).await;
        let cluster = Client::connect(&network, port).ask(&DescribeClusterRequest::default(), 0).await;
        let brokers: Vec<_> = cluster.brokers.into_iter().map(|broker| (broker.host, broker.port)).collect();
        told.push((found, cluster.controller_id, brokers));
    }
    let place = |host: &str, port| (host.to_owned(), port);
    let reached = |place: (String, i32)| ((0, 1, place.clone()), 1, vec![place]);
    let unreached = ((COORDINATOR_NOT_AVAILABLE, -1, place("", -1)), -1, Vec::new());
    assert_eq!(told, [reached(place("127.0.0.1", 9001)), reached(place("far.example", 99)), unreached]);
    node.stop().await;
}
