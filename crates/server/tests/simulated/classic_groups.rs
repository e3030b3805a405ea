//! Classic groups as far as the node around them matters.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::{
    DeleteGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, SyncGroupRequest,
    join_group_request, sync_group_request,
};

use crate::client::{Client, node_with};
use crate::world::Network;

const GROUP: &str = "g";
const SESSION: Duration = Duration::from_millis(6000);

/// Joins as the only member, in a version without the round for a member id: its id, and the generation.
async fn joined(client: &mut Client) -> (String, i32) {
    let protocol =
        join_group_request::JoinGroupRequestProtocol { name: "p".to_owned(), metadata: Bytes::from_static(b"m") };
    let join = JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: SESSION.as_millis() as i32,
        rebalance_timeout_ms: 60_000,
        protocol_type: "test".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    loop {
        let answer = client.ask(&join, 3).await;
        match ErrorCode::from_number(answer.error_code) {
            ErrorCode::None => return (answer.member_id, answer.generation_id),
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_over_for_the_request_that_comes_then() {
    let network = Arc::new(Network::default());
    let more = [
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    client.ask(&FindCoordinatorRequest { key: GROUP.to_owned(), ..Default::default() }, 3).await;
    let (member_id, generation_id) = joined(&mut client).await;
    let assignment = sync_group_request::SyncGroupRequestAssignment {
        member_id: member_id.clone(),
        assignment: Bytes::from_static(b"a"),
    };
    let sync = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id,
        member_id: member_id.clone(),
        assignments: vec![assignment],
        ..Default::default()
    };
    assert_eq!(client.ask(&sync, 3).await.error_code, 0);

    // The node counts in milliseconds: a session that began within one is over with the beginning of that one, while the
    // thread that waits for its end still sleeps.
    tokio::time::advance(Duration::from_micros(700)).await;
    let beat = HeartbeatRequest { group_id: GROUP.to_owned(), generation_id, member_id, ..Default::default() };
    assert_eq!(client.ask(&beat, 3).await.error_code, 0);
    tokio::time::advance(SESSION - Duration::from_micros(200)).await;
    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.to_owned()] };
    let answer = client.ask(&delete, 2).await;
    assert_eq!(ErrorCode::from_number(answer.results[0].error_code), ErrorCode::None);
    running.stop().await;
}
