//! `milena bench`: how fast records go in and come out, on whatever broker it is pointed at.

use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_base::Random;
use milena_client::consumer::Start;
use milena_client::producer::{Acks, Delivery};
use milena_client::{Consumer, ConsumerSettings, Event, ProducedRecord, Producer, ProducerSettings};
use milena_protocol::TopicPartition;
use milena_protocol::compression::Codec;
use serde::Serialize;
use tokio::sync::mpsc;

use super::produce::codec;
use crate::completion;
use crate::connect::Target;
use crate::failure::Failure;
use crate::latencies::Latencies;
use crate::output::Output;
use crate::{names, numbers};

/// Measure how fast records go in and come out
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Send records of random bytes
    Produce {
        /// Where they go; it is created at first use if the broker allows that
        #[arg(value_parser = names::topic, add = completion::topics())]
        topic: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 1_000_000, allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
        records: u64,
        /// How large each value is, in bytes
        #[arg(short, long, default_value_t = 100, allow_negative_numbers = true, value_parser = numbers::natural::<usize>)]
        size: usize,
        /// How many in a second at most; 0 is as fast as it goes
        #[arg(short, long, default_value_t = 0, allow_negative_numbers = true, value_parser = numbers::natural::<u64>)]
        rate: u64,
        /// How large a batch grows, in bytes
        #[arg(long, default_value_t = 64 * 1024, allow_negative_numbers = true, value_parser = numbers::positive::<usize>)]
        batch_bytes: usize,
        /// How long a batch waits for more records
        #[arg(long, default_value_t = 5)]
        linger_ms: u64,
        /// How batches are compressed: none, gzip, snappy, lz4 or zstd
        #[arg(short, long, default_value = "none", value_parser = codec)]
        compression: Codec,
    },
    /// Read records from the beginning
    Consume {
        /// Where they are from
        #[arg(value_parser = names::topic, add = completion::topics())]
        topic: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 1_000_000, allow_negative_numbers = true, value_parser = numbers::positive::<u64>)]
        records: u64,
        /// Stop when nothing has come for so long
        #[arg(long, default_value_t = 5_000)]
        timeout_ms: u64,
    },
}

/// What was measured. Rates and latencies only of enough records to say something; latencies only where they can be: from
/// sending to acknowledgement.
#[derive(Serialize)]
struct Measured {
    records: u64,
    bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    megabytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
}

#[derive(Serialize)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

pub(crate) async fn run(command: Command, target: &Target, output: &Output) -> Result<(), Failure> {
    let measured = match command {
        Command::Produce { topic, records, size, rate, batch_bytes, linger_ms, compression } => {
            let settings = ProducerSettings {
                acks: Acks::All,
                batch_bytes,
                linger: Duration::from_millis(linger_ms),
                codec: compression,
                ..ProducerSettings::default()
            };
            produce(target, &topic, records, size, rate, settings).await?
        }
        Command::Consume { topic, records, timeout_ms } => {
            consume(target, &topic, records, Duration::from_millis(timeout_ms)).await?
        }
    };
    let sentence = measured.sentence();
    output.result(&measured, &sentence)
}

async fn produce(
    target: &Target,
    topic: &str,
    records: u64,
    size: usize,
    rate: u64,
    settings: ProducerSettings,
) -> Result<Measured, Failure> {
    let cluster = target.connect_creating(true).await?;
    cluster.topic(topic).await?;
    let producer = Producer::open(&cluster, settings)?;
    let (sender, outcomes) = mpsc::channel(OUTCOMES_MAX);
    let watching = tokio::spawn(watch(outcomes));
    let values = values(size);
    let began = Instant::now();
    for number in 0..records {
        while rate > 0 && number > (began.elapsed().as_micros() as u64).saturating_mul(rate) / 1_000_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let value = values[number as usize % values.len()].clone();
        let sent = Instant::now();
        let delivery = producer.send(ProducedRecord::new(topic, value)).await?;
        if sender.send((sent, delivery)).await.is_err() {
            break;
        }
    }
    drop(sender);
    producer.flush().await;
    let latencies = watching.await.map_err(|_| Failure::failed("the measurement has ended too early"))??;
    let latency = Latency {
        p50_ms: latencies.percentile_ms(50.0),
        p99_ms: latencies.percentile_ms(99.0),
        p999_ms: latencies.percentile_ms(99.9),
        max_ms: latencies.max_ms(),
    };
    Ok(Measured::new(records, records * size as u64, began.elapsed(), Some(latency)))
}

/// Waits for outcomes in the order of sending. A later one that is known already is looked at a little late, by no
/// more than the difference between two batches.
async fn watch(mut outcomes: mpsc::Receiver<(Instant, Delivery)>) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::new();
    while let Some((sent, delivery)) = outcomes.recv().await {
        delivery.wait().await?;
        latencies.add(sent.elapsed());
    }
    Ok(latencies)
}

/// Random, so that compression finds nothing; a few, so that making them costs nothing.
fn values(size: usize) -> Vec<Bytes> {
    let mut random = Random::from_seed(1);
    let mut value = || (0..size).map(|_| random.next_u64() as u8).collect::<Vec<u8>>().into();
    (0..64).map(|_| value()).collect()
}

async fn consume(target: &Target, topic: &str, records: u64, patience: Duration) -> Result<Measured, Failure> {
    let cluster = target.connect().await?;
    let found = cluster.topic(topic).await?;
    let starts: Vec<_> =
        found.partitions.keys().map(|number| (TopicPartition::new(topic, *number), Start::Earliest)).collect();
    let mut consumer = Consumer::open(&cluster, ConsumerSettings::default());
    consumer.assign(&starts).await?;
    let began = Instant::now();
    let mut last = began;
    let (mut count, mut bytes) = (0, 0);
    while count < records {
        match consumer.next_within(patience).await? {
            Some(Event::Records(fetched)) => {
                last = Instant::now();
                count += fetched.records.len() as u64;
                let values = fetched.records.iter().filter_map(|record| record.value.as_ref());
                bytes += values.map(|value| value.len() as u64).sum::<u64>();
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(Measured::new(count, bytes, last.duration_since(began), None))
}

impl Measured {
    fn new(records: u64, bytes: u64, duration: Duration, latency: Option<Latency>) -> Measured {
        let seconds = duration.as_secs_f64();
        let is_enough = records >= MEASURED_RECORDS_MIN && seconds > 0.0;
        let per_second = |amount: f64| is_enough.then(|| amount / seconds);
        Measured {
            records,
            bytes,
            seconds,
            records_per_second: per_second(records as f64),
            megabytes_per_second: per_second(bytes as f64 / 1e6),
            latency: latency.filter(|_| is_enough),
        }
    }

    fn sentence(&self) -> String {
        let counted = format!(
            "{} {} in {:.2} s",
            self.records,
            if self.records == 1 { "record" } else { "records" },
            self.seconds
        );
        let (Some(records), Some(megabytes)) = (self.records_per_second, self.megabytes_per_second) else {
            return format!("{counted}, too few to measure anything: that takes at least {MEASURED_RECORDS_MIN}");
        };
        let rates = format!("{counted}: {records:.0} records/s, {megabytes:.1} MB/s");
        match &self.latency {
            None => rates,
            Some(latency) => format!(
                "{rates}; latency p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
                latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms
            ),
        }
    }
}

/// Fewer records say nothing about a rate, nor about the slowest of a thousand.
const MEASURED_RECORDS_MIN: u64 = 1000;
/// How many outcomes may wait to be looked at; then sending waits.
const OUTCOMES_MAX: usize = 1_000_000;
