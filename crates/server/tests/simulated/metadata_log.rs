//! The metadata log as a node keeps it: snapshots are written, the log is cut down to them, and a start finds the same
//! cluster.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::messages::MetadataRequest;
use tokio::time::{Duration, sleep};

use crate::client::{Client, node_with};
use crate::world::Network;

/// Every change is a snapshot's worth, a few changes fill a segment, and next to nothing is kept.
const EAGER: [(&str, &str); 3] = [
    ("metadata.log.max.record.bytes.between.snapshots", "1"),
    ("internal.metadata.log.segment.bytes", "5000"),
    ("metadata.max.retention.bytes", "1"),
];

async fn topics(client: &mut Client) -> usize {
    client.ask(&MetadataRequest { topics: None, ..Default::default() }, 12).await.topics.len()
}

fn count(disk: &MemoryDisk, ending: &str) -> usize {
    let here = |path: &&std::path::PathBuf| path.to_string_lossy().contains("/__cluster_metadata-0/");
    disk.paths().iter().filter(here).filter(|path| path.to_string_lossy().ends_with(ending)).count()
}

#[tokio::test(start_paused = true)]
async fn the_metadata_log_is_cut_to_its_newest_snapshot() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node_with(&network, &disk, 9001, 5, &EAGER).await;
    let mut client = Client::connect(&network, 9001);
    for number in 0..80 {
        client.create(&format!("t{number}"), 1).await;
    }
    assert!(count(&disk, ".checkpoint") > 80 && count(&disk, ".log") > 2, "nothing goes before its time");
    sleep(Duration::from_secs(61)).await;
    assert_eq!((count(&disk, ".checkpoint"), count(&disk, ".log")), (1, 1));
    assert!(count(&disk, ".deleted") > 80, "somebody may be reading them");
    sleep(Duration::from_secs(121)).await;
    assert_eq!(count(&disk, ".deleted"), 0);
    client.create("one-more", 1).await;
    let survivor = disk.after_power_loss();
    let again = node_with(&network, &survivor, 9002, 6, &EAGER).await;
    assert_eq!(topics(&mut Client::connect(&network, 9002)).await, 81, "after a loss of power");
    again.stop().await;
    running.stop().await;
    let again = node_with(&network, &disk, 9001, 7, &EAGER).await;
    let mut client = Client::connect(&network, 9001);
    assert_eq!(topics(&mut client).await, 81, "after a stop");
    client.create("and-another", 1).await;
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_node_writes_a_snapshot_when_its_time_has_come() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let hourly = [("metadata.log.max.snapshot.interval.ms", "3600000")];
    let running = node_with(&network, &disk, 9001, 5, &hourly).await;
    Client::connect(&network, 9001).create("t", 1).await;
    sleep(Duration::from_secs(3590)).await;
    assert_eq!(count(&disk, ".checkpoint"), 1, "the format's");
    sleep(Duration::from_secs(80)).await;
    assert_eq!(count(&disk, ".checkpoint"), 2);
    sleep(Duration::from_secs(7300)).await;
    assert_eq!(count(&disk, ".checkpoint"), 2, "nothing new, nothing to be saved");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_costs_a_snapshot_and_not_the_node() {
    let (network, disk) = (Arc::new(Network::default()), MemoryDisk::new());
    let running = node_with(&network, &disk, 9001, 5, &EAGER).await;
    let mut client = Client::connect(&network, 9001);
    client.create("t", 1).await;
    let before = count(&disk, ".checkpoint");
    // Room for the record of a topic's change and none for a snapshot.
    disk.set_room(Some(600));
    client.create("u", 1).await;
    assert_eq!(count(&disk, ".checkpoint"), before);
    disk.set_room(None);
    client.create("v", 1).await;
    assert_eq!((count(&disk, ".checkpoint"), topics(&mut client).await), (before + 1, 3));
    running.stop().await;
}
