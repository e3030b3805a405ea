//! A node whose own broker is unregistered: it leads nothing any more, and is whole again after its next start.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::{DescribeClusterRequest, UnregisterBrokerRequest};

use crate::client::{Client, node};
use crate::offline::{fetch, produce};
use crate::world::Network;

#[tokio::test(start_paused = true)]
async fn an_unregistered_broker_leads_nothing_until_it_starts_again() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node(&network, &disk, 9001, 1).await;
    let mut client = Client::connect(&network, 9001);
    client.create("t", 1).await;
    assert_eq!(produce(&mut client, "t").await, Ok(0));
    let unregister = UnregisterBrokerRequest { broker_id: 1 };
    assert_eq!(client.ask(&unregister, 0).await.error_code, 0);
    assert_eq!(client.ask(&unregister, 0).await.error_code, ErrorCode::BrokerIdNotRegistered.number());
    assert_eq!(produce(&mut client, "t").await, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(fetch(&mut client, "t").await, ErrorCode::NotLeaderOrFollower);
    let cluster = client.ask(&DescribeClusterRequest::default(), 2).await;
    assert_eq!((cluster.error_code, cluster.brokers), (0, vec![]));
    running.stop().await;

    let _running = node(&network, &disk, 9001, 2).await;
    let mut client = Client::connect(&network, 9001);
    assert_eq!(produce(&mut client, "t").await, Ok(1));
    assert_eq!(fetch(&mut client, "t").await, ErrorCode::None);
}
