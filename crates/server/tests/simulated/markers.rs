//! Markers that end transactions, as another coordinator sends them.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::ErrorCode;
use milena_protocol::messages::WriteTxnMarkersRequest;
use milena_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

use crate::client::{Client, node_with};
use crate::world::Network;

const TOPIC: &str = "t";

/// What a marker is answered by a node that acknowledges after a flush and is given `timeout_ms` for it.
async fn error_with(timeout_ms: &str) -> ErrorCode {
    let network = Arc::new(Network::default());
    let more = [("log.flush.interval.messages", "1"), ("request.timeout.ms", timeout_ms)];
    let running = node_with(&network, &MemoryDisk::new(), 9001, 1, &more).await;
    let mut client = Client::connect(&network, 9001);
    client.create(TOPIC, 1).await;
    let topics = vec![WritableTxnMarkerTopic { name: TOPIC.to_owned(), partition_indexes: vec![0] }];
    let marker = WritableTxnMarker { producer_id: 5, transaction_result: true, topics, ..Default::default() };
    let answer = client.ask(&WriteTxnMarkersRequest { markers: vec![marker] }, 1).await;
    running.stop().await;
    ErrorCode::from_number(answer.markers[0].topics[0].partitions[0].error_code)
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_not_safe_in_time_is_answered_so() {
    assert_eq!(error_with("30000").await, ErrorCode::None);
    assert_eq!(error_with("0").await, ErrorCode::RequestTimedOut);
}
