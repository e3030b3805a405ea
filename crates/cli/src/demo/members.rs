//! The members of the demo's group: each reads its share and reports what it received.

use std::time::{Duration, Instant};

use milena_client::consumer::Reset;
use milena_client::{Cluster, Consumer, ConsumerSettings, Event};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::TOPIC;
use super::mark::Mark;
use super::verify::Received;
use crate::failure::Failure;

/// What a member reports.
pub(super) enum News {
    /// It reads these partitions from now on.
    Assigned { member: usize, partitions: Vec<i32> },
    /// It reads nothing for now.
    Released { member: usize },
    /// It has received events.
    Received(ReceivedBatch),
}

/// Events of one partition, in its order.
pub(super) struct ReceivedBatch {
    pub(super) partition: i32,
    /// Microseconds since the demo began.
    pub(super) received_us: u64,
    pub(super) events: Vec<Received>,
}

/// Starts a member. It leaves the group when `stop` says so.
pub(super) fn start(
    cluster: &Cluster,
    member: usize,
    started: Instant,
    news: mpsc::Sender<News>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<Result<(), Failure>> {
    let settings = ConsumerSettings {
        group: Some(GROUP.to_owned()),
        reset: Reset::Earliest,
        heartbeat_interval: Duration::from_millis(500),
        session_timeout: Duration::from_secs(10),
        ..ConsumerSettings::default()
    };
    let consumer = Consumer::open(cluster, settings);
    tokio::spawn(read(consumer, member, started, news, stop))
}

async fn read(
    mut consumer: Consumer,
    member: usize,
    started: Instant,
    news: mpsc::Sender<News>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    consumer.subscribe(&[TOPIC.to_owned()]).await?;
    loop {
        let event = tokio::select! {
            event = consumer.next() => event?,
            // The sender outlives the members.
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let report = match event {
            Event::Assigned(partitions) => {
                let partitions = partitions.iter().map(|partition| partition.partition).collect();
                News::Assigned { member, partitions }
            }
            Event::Revoked(_) | Event::Lost(_) => News::Released { member },
            Event::Records(fetched) => News::Received(ReceivedBatch {
                partition: fetched.partition.partition,
                received_us: started.elapsed().as_micros() as u64,
                events: fetched
                    .records
                    .iter()
                    .map(|record| Received {
                        mark: Mark::of(record),
                        key: record.key.clone(),
                        value: record.value.clone().unwrap_or_default(),
                    })
                    .collect(),
            }),
        };
        if news.send(report).await.is_err() {
            break;
        }
    }
    Ok(consumer.close().await?)
}

/// The group's id.
pub(super) const GROUP: &str = "demo";
