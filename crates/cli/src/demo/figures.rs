//! What the demo shows while it runs: a bar and a line per partition on a terminal, plain lines once a second where
//! stderr goes elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::PARTITIONS;
use crate::latencies::Latencies;
use crate::output::tell;

/// Everything that is counted.
pub(super) struct Figures {
    started: Instant,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) latencies: Latencies,
    /// Received events by partition.
    pub(super) partitions: BTreeMap<i32, u64>,
    /// Who reads which partition.
    readers: BTreeMap<i32, usize>,
    first_received: Option<Instant>,
    last_received: Option<Instant>,
    /// From the start of the demo to the end of receiving.
    pub(super) duration: Duration,
}

impl Figures {
    pub(super) fn new(started: Instant) -> Figures {
        Figures {
            started,
            sent: 0,
            received: 0,
            latencies: Latencies::new(),
            partitions: (0..PARTITIONS).map(|partition| (partition, 0)).collect(),
            readers: BTreeMap::new(),
            first_received: None,
            last_received: None,
            duration: Duration::ZERO,
        }
    }

    pub(super) fn assign(&mut self, member: usize, partitions: &[i32]) {
        self.readers.retain(|_, reader| *reader != member);
        self.readers.extend(partitions.iter().map(|partition| (*partition, member)));
    }

    /// Whether every partition has a reader and so many members read.
    pub(super) fn is_shared_by(&self, members: usize) -> bool {
        let readers: std::collections::BTreeSet<_> = self.readers.values().collect();
        self.readers.len() == PARTITIONS as usize && readers.len() == members
    }

    pub(super) fn take(&mut self, partition: i32, sent_us: Option<u64>, received_us: u64) {
        self.received += 1;
        *self.partitions.entry(partition).or_default() += 1;
        if let Some(sent_us) = sent_us {
            self.latencies.add(Duration::from_micros(received_us.saturating_sub(sent_us)));
        }
        self.first_received.get_or_insert_with(Instant::now);
        self.last_received = Some(Instant::now());
    }

    pub(super) fn finish(&mut self, sent: u64) {
        self.sent = sent;
        self.duration = self.started.elapsed();
    }

    /// Received events per second, between the first and the last one.
    pub(super) fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.first_received, self.last_received) else { return 0.0 };
        let seconds = last.duration_since(first).as_secs_f64();
        if seconds > 0.0 { self.received as f64 / seconds } else { 0.0 }
    }

    /// Sent but not received.
    fn lag(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    fn line(&self) -> String {
        format!(
            "{:.0} events/s, lag {}, latency p50 {:.1} ms, p99 {:.1} ms",
            self.rate(),
            self.lag(),
            self.latencies.percentile_ms(50.0),
            self.latencies.percentile_ms(99.0)
        )
    }

    fn partition_line(&self, partition: i32) -> String {
        let received = self.partitions.get(&partition).copied().unwrap_or(0);
        let reader = self.readers.get(&partition);
        let reader = reader.map_or_else(|| "nobody".to_owned(), |member| format!("member {}", member + 1));
        format!("partition {partition}: {received} received by {reader}")
    }
}

/// Shows figures.
pub(super) enum Display {
    Terminal { bar: ProgressBar, partitions: Vec<(i32, ProgressBar)> },
    Lines { shown: Instant },
}

impl Display {
    /// `total` events are expected, if that is known.
    pub(super) fn new(total: Option<u64>) -> Display {
        if !std::io::stderr().is_terminal() {
            return Display::Lines { shown: Instant::now() };
        }
        let lines = MultiProgress::new();
        let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = lines.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style("[{bar:30}] {human_pos}/{human_len} {msg}"));
        let partition = |number| {
            let line = lines.add(ProgressBar::no_length());
            line.set_style(style("  {msg}"));
            (number, line)
        };
        Display::Terminal { bar, partitions: (0..PARTITIONS).map(partition).collect() }
    }

    pub(super) fn show(&mut self, figures: &Figures) {
        match self {
            Display::Terminal { bar, partitions } => {
                bar.set_position(figures.received);
                bar.set_message(figures.line());
                partitions.iter().for_each(|(number, line)| line.set_message(figures.partition_line(*number)));
            }
            Display::Lines { shown } if shown.elapsed() >= Duration::from_secs(1) => {
                *shown = Instant::now();
                print_line(figures);
            }
            Display::Lines { .. } => {}
        }
    }

    pub(super) fn finish(self, figures: &Figures) {
        match self {
            Display::Terminal { bar, partitions } => {
                partitions.iter().for_each(|(_, line)| line.finish_and_clear());
                bar.finish_and_clear();
            }
            Display::Lines { .. } => print_line(figures),
        }
    }
}

fn print_line(figures: &Figures) {
    let partitions: Vec<String> =
        figures.partitions.iter().map(|(partition, received)| format!("{partition}: {received}")).collect();
    let seconds = figures.started.elapsed().as_secs_f64();
    let (sent, received) = (figures.sent, figures.received);
    tell(&format!("{seconds:5.1} s  sent {sent}, received {received} ({}), {}", partitions.join(", "), figures.line()));
}
