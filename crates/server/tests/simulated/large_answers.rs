//! Answers of many parts, for which there is little memory: what does not fit is refused part by part, in such a way that
//! a client asks again for just that, and comes to an end.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    DescribeGroupsRequest, DescribeTransactionsRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest, ListTransactionsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use milena_server::Running;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Client, node_with};
use crate::world::{Network, SimWorld};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 40;
const GROUPS: usize = 6;
/// Those of a group take some 160 KB, more than a connection buffers; what there is for answers is a quarter of a mebibyte.
const METADATA_BYTES: usize = 4000;
const RETRY: i16 = ErrorCode::CoordinatorLoadInProgress as i16;

/// A node with little memory for answers, and a client of it. One shard has all groups.
async fn small_node(network: &Arc<Network>, more: &[(&str, &str)]) -> (Running<SimWorld>, Client) {
    let settings = [
        ("memory.request.bytes", "1048576"),
        ("socket.request.max.bytes", "4000000"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.num.partitions", "1"),
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
    let committed = client.ask(&commit_of(group_id, metadata_bytes), 9).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
}

fn commit_of(group_id: String, metadata_bytes: usize) -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 7,
        committed_metadata: Some("m".repeat(metadata_bytes)),
        ..Default::default()
    };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topics = vec![OffsetCommitRequestTopic { name: TOPIC.to_owned(), partitions, ..Default::default() }];
    OffsetCommitRequest { group_id, topics, ..Default::default() }
}

/// Those groups that are answered, out of all: asks again for what is refused for want of room, as Kafka's Admin does, and
/// counts the rounds.
macro_rules! asked_until_answered {
    ($client:ident, $all:expr, $ask:expr, $version:expr, $parts:ident, $id:ident) => {{
        let (mut left, mut answered, mut rounds): (BTreeSet<String>, _, _) = ($all.collect(), Vec::new(), 0);
        while !left.is_empty() {
            let parts = $client.ask(&$ask(left.iter().cloned().collect()), $version).await.$parts;
            assert_eq!(parts.len(), left.len(), "each has its answer");
            let before = left.len();
            for part in parts {
                match part.error_code {
                    0 => {
                        left.remove(&part.$id);
                        answered.push(part);
                    }
                    error => assert_eq!(error, RETRY),
                }
            }
            assert!(left.len() < before, "each round brings some");
            rounds += 1;
        }
        (answered, rounds)
    }};
}

fn fetch(groups: Vec<String>) -> OffsetFetchRequest {
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
    let (answered, rounds) = asked_until_answered!(client, (0..GROUPS).map(group), fetch, 9, groups, group_id);
    for group in answered {
        let partitions = &group.topics[0].partitions;
        assert_eq!(partitions.len(), PARTITIONS as usize);
        let is_whole = |found: &str| found.len() == METADATA_BYTES;
        assert!(partitions.iter().all(|found| found.metadata.as_deref().is_some_and(is_whole)));
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
            client.tell(&fetch((0..GROUPS).map(group).collect()), 9).await;
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

/// A client that asks for the offsets of a group and does not read them: it has all the room until it is cut off.
async fn deaf(network: &Network) -> Client {
    let mut deaf = Client::connect(network, 9001);
    for _ in 0..10 {
        deaf.tell(&fetch(vec![group(0)]), 9).await;
    }
    sleep(Duration::from_secs(1)).await;
    deaf
}

/// A group of one member, whose assignment takes so much.
async fn stable(client: &mut Client, group_id: String, assignment_bytes: usize) {
    let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: vec![1].into() };
    let join = JoinGroupRequest {
        group_id: group_id.clone(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 1000,
        protocol_type: "test".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    // In a version without the round for a member id.
    let joined = client.ask(&join, 3).await;
    assert_eq!(joined.error_code, 0);
    let member_id = joined.member_id;
    let assignment = vec![7; assignment_bytes].into();
    let assignments = vec![SyncGroupRequestAssignment { member_id: member_id.clone(), assignment }];
    let generation_id = joined.generation_id;
    let sync = SyncGroupRequest { group_id, generation_id, member_id, assignments, ..Default::default() };
    assert_eq!(client.ask(&sync, 3).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn groups_whose_members_find_no_room_are_refused_alone_until_they_are_asked_for_again() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    for number in 0..GROUPS {
        stable(&mut client, group(number), 80_000).await;
    }
    let describe = |groups| DescribeGroupsRequest { groups, ..Default::default() };
    let (answered, rounds) = asked_until_answered!(client, (0..GROUPS).map(group), describe, 5, groups, group_id);
    assert!(answered.iter().all(|group| group.members[0].member_assignment.len() == 80_000));
    assert!(rounds > 1, "not all of them fit");
    running.stop().await;
}

/// A transactional id of some ten thousand letters.
fn long_id(number: usize) -> String {
    format!("{number:04}-{}", "x".repeat(10_000))
}

/// Lets producers in until there are so many long transactional ids.
async fn enter(client: &mut Client, ids: usize) {
    let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![long_id(0)], ..Default::default() };
    client.ask(&find, 4).await;
    for number in 0..ids {
        let init = InitProducerIdRequest {
            transactional_id: Some(long_id(number)),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        while client.ask(&init, 4).await.error_code != 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn transactions_that_find_no_room_are_refused_alone_until_they_are_asked_for_again() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    enter(&mut client, 40).await;
    let describe = |transactional_ids| DescribeTransactionsRequest { transactional_ids };
    let all = (0..40).map(long_id);
    let (_, rounds) = asked_until_answered!(client, all, describe, 0, transaction_states, transactional_id);
    assert!(rounds > 1, "not all of them fit");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_for_which_there_is_no_room_is_made_again_and_is_whole() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    enter(&mut client, 40).await;
    let listed = client.ask(&ListTransactionsRequest::default(), 1).await;
    assert_eq!((listed.error_code, listed.transaction_states.len()), (0, 40));
    for number in 0..40 {
        commit(&mut client, long_id(number), 1).await;
    }
    let listed = client.ask(&ListGroupsRequest::default(), 5).await;
    assert_eq!((listed.error_code, listed.groups.len()), (0, 40));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn transactional_ids_that_a_pattern_does_not_match_need_no_room() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    enter(&mut client, 40).await;
    commit(&mut client, group(0), METADATA_BYTES).await;
    let _deaf = deaf(&network).await;
    let started = Instant::now();
    let pattern = |text: &str| Some(text.to_owned());
    let one = ListTransactionsRequest { transactional_id_pattern: pattern("0007-.*"), ..Default::default() };
    let listed = client.ask(&one, 2).await;
    assert_eq!((listed.error_code, listed.transaction_states.len()), (0, 1));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let all = ListTransactionsRequest { transactional_id_pattern: pattern("0.*"), ..Default::default() };
    let listed = client.ask(&all, 2).await;
    assert_eq!((listed.error_code, listed.transaction_states.len()), (0, 40));
    assert!(started.elapsed() > Duration::from_secs(5), "it waits for the one that does not read");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_is_dropped_with_its_peer_and_the_write_behind_it_is_done() {
    let network = Arc::new(Network::default());
    let (running, mut client) = small_node(&network, &[]).await;
    commit(&mut client, group(0), METADATA_BYTES).await;
    let mut deaf = deaf(&network).await;
    let mut leaver = Client::connect(&network, 9001);
    leaver.tell(&fetch(vec![group(0)]), 9).await;
    leaver.tell(&commit_of("behind".to_owned(), 1), 9).await;
    leaver.tell(&fetch(vec![group(0)]), 9).await;
    leaver.tell(&commit_of("last".to_owned(), 1), 9).await;
    sleep(Duration::from_secs(1)).await;
    let fetched = client.ask(&fetch(vec!["behind".to_owned()]), 9).await;
    assert_eq!(fetched.groups[0].topics.len(), 0, "nothing overtakes what waits for room");
    drop(leaver);
    sleep(Duration::from_secs(1)).await;
    for group in ["behind", "last"] {
        let fetched = client.ask(&fetch(vec![group.to_owned()]), 9).await;
        assert_eq!(fetched.groups[0].topics[0].partitions[0].committed_offset, 7, "{group}");
    }
    // Nobody waits for room any more, so whoever has it may be slow.
    sleep(Duration::from_secs(120)).await;
    assert_eq!(deaf.heard::<OffsetFetchRequest>(9).await.groups[0].topics[0].partitions.len(), PARTITIONS as usize);
    running.stop().await;
}
