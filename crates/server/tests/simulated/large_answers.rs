//! Answers of many parts, for which there is little memory: what does not fit is refused part by part, in such a way that
//! a client asks again for just that, and comes to an end.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::{FindCoordinatorRequest, HeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest};
use milena_server::Running;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 10;
const GROUPS: usize = 6;
/// Those of a group take some 40 KB; what there is for answers, a quarter of a mebibyte, holds six times that.
const METADATA_BYTES: usize = 4000;
const RETRY: i16 = ErrorCode::CoordinatorLoadInProgress as i16;

/// A node with little memory for answers, and a client of it. One shard has all groups.
async fn small_node(network: &Arc<Network>, more: &[(&str, &str)]) -> (Running<SimWorld>, Client) {
    let settings = [
        ("memory.request.bytes", "1048576"),
        ("socket.request.max.bytes", "4000000"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
    ];
    let settings: Vec<_> = settings.iter().chain(more).copied().collect();
    let running = node_with(network, &MemoryDisk::new(), 9001, 1, &settings).await;
    let mut client = Client::connect(network, 9001);
    client.create(TOPIC, PARTITIONS).await;
    let find = FindCoordinatorRequest { coordinator_keys: vec![group(0)], ..Default::default() };
    while client.ask(&find, 4).await.coordinators[0].error_code != 0 {
        sleep(Duration::from_millis(50)).await;
    }
    while heartbeat(&mut client).await != ErrorCode::UnknownMemberId.number() {
        sleep(Duration::from_millis(50)).await;
    }
    (running, client)
}

fn group(number: usize) -> String {
    format!("group-{number}")
}

/// Of a member that nobody knows: answered by the coordinator's thread all the same.
async fn heartbeat(client: &mut Client) -> i16 {
    let heartbeat = HeartbeatRequest { group_id: group(0), ..Default::default() };
    client.ask(&heartbeat, 4).await.error_code
}

async fn commit(client: &mut Client, group_id: String, metadata_bytes: usize) {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 7,
        committed_metadata: Some("m".repeat(metadata_bytes)),
        ..Default::default()
    };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: TOPIC.to_owned(), partitions, ..Default::default() }];
    let request = OffsetCommitRequest { group_id, topics, ..Default::default() };
    assert_eq!(client.ask(&request, 9).await.topics[0].partitions[0].error_code, 0);
}

fn fetch(groups: impl IntoIterator<Item = String>) -> OffsetFetchRequest {
    let all = |group_id| OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
    OffsetFetchRequest { groups: groups.into_iter().map(all).collect(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn groups_whose_offsets_find_no_room_are_refused_alone_until_they_are_asked_for_again() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    for number in 0..GROUPS {
        commit(&mut client, group(number), METADATA_BYTES).await;
    }
    let (mut left, mut rounds): (BTreeSet<String>, _) = ((0..GROUPS).map(group).collect(), 0);
    while !left.is_empty() {
        let answered = client.ask(&fetch(left.clone()), 9).await.groups;
        assert_eq!(answered.len(), left.len(), "each has its answer");
        let before = left.len();
        for group in answered {
            match group.error_code {
                0 => {
                    let partitions = &group.topics[0].partitions;
                    assert_eq!(partitions.len(), PARTITIONS as usize);
                    let whole = |found: &str| found.len() == METADATA_BYTES;
                    assert!(partitions.iter().all(|found| found.metadata.as_deref().is_some_and(whole)));
                    left.remove(&group.group_id);
                }
                error => assert_eq!((error, group.topics.len()), (RETRY, 0)),
            }
        }
        assert!(left.len() < before, "each round brings some");
        rounds += 1;
    }
    assert!(rounds > 1, "not all of them fit");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_coordinator_waits_for_the_room_of_an_answer() {
    let network = Arc::new(Network::default());
    let (running, mut honest) = small_node(&network, &[]).await;
    for number in 0..GROUPS {
        commit(&mut honest, group(number), METADATA_BYTES).await;
    }
    // None of them reads, and each would have more than there is.
    let mut deaf: Vec<Client> = (0..10).map(|_| Client::connect(&network, 9001)).collect();
    for client in &mut deaf {
        for _ in 0..10 {
            client.tell(&fetch((0..GROUPS).map(group)), 9).await;
        }
    }
    for _ in 0..5 {
        sleep(Duration::from_secs(1)).await;
        let started = Instant::now();
        assert_eq!(heartbeat(&mut honest).await, ErrorCode::UnknownMemberId.number());
        commit(&mut honest, group(1), 10).await;
        assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    }
    running.stop().await;
}
