//! Consumer groups as far as the node around them matters.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};

use crate::client::{Client, node_with};
use crate::world::Network;

const TOPIC: &str = "t";

fn joins(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member.to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// Asks until the coordinator is there.
async fn joined(client: &mut Client, member: &str) -> i32 {
    loop {
        let answer = client.ask(&joins(member), 1).await;
        match ErrorCode::from_number(answer.error_code) {
            ErrorCode::None => return answer.member_epoch,
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trap_139_a_node_that_was_told_not_to_does_not_serve_the_new_protocol() {
    let network = Arc::new(Network::default());
    let more = [("group.coordinator.rebalance.protocols", "classic")];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    for version in 0..=1 {
        let answer = client.ask(&joins("m"), version).await;
        assert_eq!(ErrorCode::from_number(answer.error_code), ErrorCode::UnsupportedVersion);
        let asked = ConsumerGroupDescribeRequest { group_ids: vec!["g".to_owned()], ..Default::default() };
        let described = client.ask(&asked, version).await;
        assert_eq!(ErrorCode::from_number(described.groups[0].error_code), ErrorCode::UnsupportedVersion);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn members_are_known_again_after_a_restart_and_see_topics_that_came_meanwhile() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let more = [("offsets.topic.replication.factor", "1"), ("offsets.topic.num.partitions", "1")];
    let running = node_with(&network, &disk, 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    client
        .ask(&milena_protocol::messages::FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() }, 3)
        .await;
    let epoch = joined(&mut client, "m").await;
    client.create(TOPIC, 2).await;
    running.stop().await;
    let running = node_with(&network, &disk, 9002, 2, &more).await;
    let mut client = Client::connect(&network, 9002);
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: "m".to_owned(),
        member_epoch: epoch,
        ..Default::default()
    };
    // Loading takes a moment; then the shard has the topics that came after its last record.
    let answer = loop {
        let answer = client.ask(&beat, 1).await;
        match ErrorCode::from_number(answer.error_code) {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            _ if answer.assignment.is_some() => break answer,
            ErrorCode::None => tokio::time::sleep(std::time::Duration::from_millis(500)).await,
            other => panic!("{other}"),
        }
    };
    assert_eq!(answer.assignment.expect("is there").topic_partitions[0].partitions, [0, 1]);
    running.stop().await;
}
