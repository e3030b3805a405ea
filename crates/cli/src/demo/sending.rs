//! Sends the demo's events: made-up ones at an even pace, or the user's own as they come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_client::producer::Delivery;
use milena_client::{Cluster, Error, ProducedRecord, Producer, ProducerSettings};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::events::Events;
use super::mark::Mark;
use super::verify::Expected;
use super::{Arguments, TOPIC};
use crate::failure::Failure;
use crate::input::{self, Line};
use crate::output::tell;

/// How far sending is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) sent: u64,
}

/// What was sent, all of it acknowledged.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) expected: Expected,
    pub(super) bytes: u64,
    /// Lines that are no events.
    pub(super) bad_lines: u64,
    pub(super) duration: Duration,
}

/// Starts sending.
pub(super) fn start(
    cluster: &Cluster,
    arguments: &Arguments,
    started: Instant,
    progress: watch::Sender<Progress>,
) -> Result<JoinHandle<Result<Sent, Failure>>, Failure> {
    let settings = ProducerSettings { batch_bytes: 64 * 1024, ..ProducerSettings::default() };
    let sender = Sender {
        producer: Producer::open(cluster, settings)?,
        sent: Sent::default(),
        deliveries: VecDeque::new(),
        started,
        progress,
    };
    Ok(match &arguments.input {
        Some(path) => tokio::spawn(sender.send_lines(input::lines(std::slice::from_ref(path))?)),
        None => tokio::spawn(sender.send_made_up(arguments.events, arguments.rate)),
    })
}

struct Sender {
    producer: Producer,
    sent: Sent,
    /// Outcomes to come, in the order of sending.
    deliveries: VecDeque<Delivery>,
    started: Instant,
    progress: watch::Sender<Progress>,
}

impl Sender {
    async fn send_made_up(mut self, count: u64, rate: u64) -> Result<Sent, Failure> {
        let began = Instant::now();
        for (number, event) in (0..count).zip(Events::new()) {
            while rate > 0 && number > (began.elapsed().as_micros() as u64).saturating_mul(rate) / 1_000_000 {
                sleep(PACE).await;
            }
            self.send(Some(event.user_id.into()), event.json).await?;
        }
        self.finish(began).await
    }

    /// A line that is no event is told and left out.
    async fn send_lines(mut self, mut lines: mpsc::Receiver<Result<Line, Failure>>) -> Result<Sent, Failure> {
        let began = Instant::now();
        while let Some(line) = lines.recv().await {
            let line = line?;
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            let number = line.number;
            let problem = match key_of(&line.bytes) {
                Ok(key) => match self.send(key, line.bytes.into()).await {
                    Ok(()) => continue,
                    Err(error @ Error::RecordTooLarge { .. }) => error.to_string(),
                    Err(error) => return Err(error.into()),
                },
                Err(problem) => problem,
            };
            tell(&format!("line {number}: {problem}; it is not sent"));
            self.sent.bad_lines += 1;
        }
        self.finish(began).await
    }

    async fn send(&mut self, key: Option<Bytes>, value: Bytes) -> Result<(), Error> {
        let mark = Mark { number: self.sent.expected.count, sent_us: self.started.elapsed().as_micros() as u64 };
        let record = ProducedRecord {
            topic: TOPIC.to_owned(),
            key: key.clone(),
            value: Some(value.clone()),
            headers: vec![mark.header()],
            ..ProducedRecord::default()
        };
        self.deliveries.push_back(self.producer.send(record).await?);
        self.sent.expected.add(key.as_deref(), &value);
        self.sent.bytes += value.len() as u64;
        self.progress.send_replace(Progress { sent: self.sent.expected.count });
        if self.deliveries.len() > DELIVERIES_MAX
            && let Some(delivery) = self.deliveries.pop_front()
        {
            delivery.wait().await?;
        }
        Ok(())
    }

    async fn finish(mut self, began: Instant) -> Result<Sent, Failure> {
        self.producer.flush().await;
        for delivery in self.deliveries.drain(..) {
            delivery.wait().await?;
        }
        self.sent.duration = began.elapsed();
        Ok(self.sent)
    }
}

/// An event is a JSON object; its key is `user_id` where that is a string.
fn key_of(line: &[u8]) -> Result<Option<Bytes>, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON ({error})"))?;
    let Value::Object(mut members) = value else { return Err("no JSON object".to_owned()) };
    match members.remove("user_id") {
        Some(Value::String(user_id)) => Ok(Some(user_id.into())),
        _ => Ok(None),
    }
}

/// How long the sender sleeps when it is ahead of its pace.
const PACE: Duration = Duration::from_millis(2);
/// How many outcomes may be waited for.
const DELIVERIES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_user_if_that_is_a_string() {
        assert_eq!(key_of(br#"{"user_id":"u-1"}"#), Ok(Some(Bytes::from("u-1"))));
        assert_eq!(key_of(br#"{"user_id":1}"#), Ok(None));
        assert_eq!(key_of(b"{}"), Ok(None));
    }

    #[test]
    fn lines_that_are_no_objects_are_no_events() {
        for line in [&b"{"[..], b"[]", b"1", b"\"text\"", b"{} {}", b"\xff"] {
            assert!(key_of(line).is_err(), "{line:?}");
        }
    }
}
