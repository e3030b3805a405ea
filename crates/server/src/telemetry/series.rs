//! The metrics that clients pushed, as series that are told to whoever reads the node's own: bounded in number and bytes,
//! and forgotten when their clients are quiet.
//!
//! Clients send what was added to a counter since their former push; here it is summed up. A value that is no number says
//! that there was nothing to be measured, and takes its series away.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use milena_base::Millis;
use milena_metadata::telemetry::Client;
use milena_protocol::Uuid;
use milena_protocol::otlp::{self, Kind, OtlpError, Point};

use super::names::{TOTAL, cut, escaped, family, labels};

/// A series is kept for so long at least after its last value.
const KEPT_MIN: Millis = Millis(60_000);
/// And for so many intervals of its client.
const INTERVALS: i64 = 3;
/// What a series may take on average, in bytes: with very long labels fewer are kept than are allowed.
const SERIES_BYTES: usize = 1024;
/// What a series takes besides its labels, roughly.
const SAMPLE_BYTES: usize = 128;
/// One client may have this part of the series.
const CLIENT_PART: usize = 10;

/// All series.
#[derive(Debug)]
pub(super) struct Series {
    series_max: usize,
    /// By name, without the ending of counters.
    families: BTreeMap<String, Family>,
    len: usize,
    size_bytes: usize,
    of_client: HashMap<Uuid, usize>,
    untold: u64,
}

#[derive(Debug)]
struct Family {
    is_counter: bool,
    help: String,
    /// By labels.
    samples: BTreeMap<String, Sample>,
}

#[derive(Debug)]
struct Sample {
    value: f64,
    client: Uuid,
    forgotten_at: Millis,
}

impl Series {
    /// None yet, and never more than `series_max`.
    pub(super) fn new(series_max: usize) -> Series {
        Series { series_max, families: BTreeMap::new(), len: 0, size_bytes: 0, of_client: HashMap::new(), untold: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Values that found no room, have no name that can be told, are of another kind than their name had before, or of a kind
    /// that is not read, and steps of counters that go down or on for ever.
    pub(super) fn untold(&self) -> u64 {
        self.untold
    }

    /// Takes the metrics of a push, all or nothing, but no more values than its client may have series: each has labels to be
    /// made, and those of its resource may be long.
    pub(super) fn add(
        &mut self,
        now: Millis,
        client: &Client,
        interval_ms: i32,
        metrics: &[u8],
    ) -> Result<(), OtlpError> {
        let mut values = 0;
        otlp::read(metrics, &mut |_| values += 1)?;
        if self.len + values > self.series_max {
            self.forget_quiet(now);
        }
        let forgotten_at = now + KEPT_MIN.max(Millis(INTERVALS * i64::from(interval_ms)));
        let mut left = self.of_client_max();
        let unread = otlp::read(metrics, &mut |point| {
            let is_taken = left > 0 && self.add_point(client, forgotten_at, point);
            left = left.saturating_sub(1);
            self.untold += u64::from(!is_taken);
        })?;
        self.untold += unread as u64;
        Ok(())
    }

    /// False if the value cannot be told.
    fn add_point(&mut self, client: &Client, forgotten_at: Millis, point: &Point<'_>) -> bool {
        let Some(name) = family(point.name) else { return false };
        let is_counter = matches!(point.kind, Kind::Sum { is_monotonic: true, .. });
        let is_delta = matches!(point.kind, Kind::Sum { is_delta: true, .. });
        let labels = labels(client, point);
        if self.families.get(&name).is_some_and(|family| family.is_counter != is_counter) {
            return false;
        }
        let known = self.families.get(&name).and_then(|family| family.samples.get(&labels));
        let value = point.value + known.filter(|_| is_delta).map_or(0.0, |sample| sample.value);
        if value.is_nan() {
            self.remove(&name, &labels);
            return true;
        }
        if is_counter && !(point.value >= 0.0 && value.is_finite()) {
            return false;
        }
        if let Some(sample) = self.families.get_mut(&name).and_then(|family| family.samples.get_mut(&labels)) {
            (sample.value, sample.forgotten_at) = (value, forgotten_at);
            return true;
        }
        let help = cut(point.description);
        let new_bytes = sample_bytes(&labels) + family_bytes(&name, help);
        if !self.has_room(client.instance, new_bytes) {
            return false;
        }
        self.len += 1;
        self.size_bytes += sample_bytes(&labels);
        *self.of_client.entry(client.instance).or_default() += 1;
        let family = self.families.entry(name).or_insert_with_key(|name| {
            self.size_bytes += family_bytes(name, help);
            Family { is_counter, help: help.to_owned(), samples: BTreeMap::new() }
        });
        let sample = Sample { value, client: client.instance, forgotten_at };
        family.samples.insert(labels, sample);
        true
    }

    fn of_client_max(&self) -> usize {
        (self.series_max / CLIENT_PART).max(1)
    }

    fn has_room(&self, client: Uuid, new_bytes: usize) -> bool {
        let of_client = self.of_client.get(&client).copied().unwrap_or(0);
        let bytes_max = self.series_max.saturating_mul(SERIES_BYTES);
        self.len < self.series_max && of_client < self.of_client_max() && self.size_bytes + new_bytes <= bytes_max
    }

    fn remove(&mut self, name: &str, labels: &str) {
        let Some(family) = self.families.get_mut(name) else { return };
        let Some((labels, sample)) = family.samples.remove_entry(labels) else { return };
        let is_empty = family.samples.is_empty();
        self.removed(&labels, sample.client);
        if is_empty {
            self.remove_family(name);
        }
    }

    /// Forgets series whose clients were quiet for too long.
    pub(super) fn forget_quiet(&mut self, now: Millis) {
        let mut quiet = Vec::new();
        for (name, family) in &self.families {
            let of_family = family.samples.iter().filter(|(_, sample)| sample.forgotten_at <= now);
            quiet.extend(of_family.map(|(labels, _)| (name.clone(), labels.clone())));
        }
        quiet.iter().for_each(|(name, labels)| self.remove(name, labels));
    }

    fn removed(&mut self, labels: &str, client: Uuid) {
        self.len -= 1;
        self.size_bytes -= sample_bytes(labels);
        if let Some(count) = self.of_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&client);
            }
        }
    }

    fn remove_family(&mut self, name: &str) {
        if let Some(family) = self.families.remove(name) {
            self.size_bytes -= family_bytes(name, &family.help);
        }
    }

    /// OpenMetrics text, without its last line.
    pub(super) fn text(&self, now: Millis) -> String {
        let mut text = String::with_capacity(self.size_bytes);
        for (name, family) in &self.families {
            let (kind, ending) = if family.is_counter { ("counter", TOTAL) } else { ("gauge", "") };
            if !family.help.is_empty() {
                let _ = writeln!(text, "# HELP {name} {}", escaped(&family.help));
            }
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (labels, sample) in family.samples.iter().filter(|(_, sample)| sample.forgotten_at > now) {
                let _ = write!(text, "{name}{ending}{{{labels}}} ");
                write_value(&mut text, sample.value);
            }
        }
        text
    }

    /// What must hold after every call.
    #[cfg(test)]
    fn check(&self) {
        let samples = || self.families.values().flat_map(|family| &family.samples);
        assert_eq!(self.len, samples().count());
        assert!(self.len <= self.series_max && self.size_bytes <= self.series_max * SERIES_BYTES);
        let of_samples: usize = samples().map(|(labels, _)| sample_bytes(labels)).sum();
        let of_families: usize = self.families.iter().map(|(name, family)| family_bytes(name, &family.help)).sum();
        assert_eq!(self.size_bytes, of_samples + of_families);
        assert_eq!(self.of_client.values().sum::<usize>(), self.len);
        assert!(self.families.values().all(|family| !family.samples.is_empty()));
    }
}

fn sample_bytes(labels: &str) -> usize {
    labels.len() + SAMPLE_BYTES
}

fn family_bytes(name: &str, help: &str) -> usize {
    name.len() + help.len() + SAMPLE_BYTES
}

fn write_value(text: &mut String, value: f64) {
    let _ = match value {
        f64::INFINITY => writeln!(text, "+Inf"),
        f64::NEG_INFINITY => writeln!(text, "-Inf"),
        _ => writeln!(text, "{value:?}"),
    };
}

#[cfg(test)]
mod tests {
    use milena_base::Random;

    use super::*;

    const INTERVAL_MS: i32 = 1000;

    fn client(number: u8) -> Client {
        Client {
            instance: Uuid([number; 16]),
            id: Some(format!("c{number}")),
            software_name: String::new(),
            software_version: String::new(),
            address: ([127, 0, 0, 1], 1).into(),
        }
    }

    fn field(number: u8, contents: &[u8]) -> Vec<u8> {
        assert!(contents.len() < 128, "one byte of length");
        [&[number << 3 | 2, contents.len() as u8], contents].concat()
    }

    /// `MetricsData` with one value. `data` is 5 for a gauge, 7 for a sum that grows by it, 9 for a histogram.
    fn metrics(name: &str, data: u8, topic: &str, value: f64) -> Vec<u8> {
        let attribute = field(7, &[field(1, b"topic"), field(2, &field(1, topic.as_bytes()))].concat());
        let point = [&[4 << 3 | 1], &value.to_le_bytes()[..], &attribute].concat();
        let delta_and_monotonic = [2 << 3, 1, 3 << 3, 1];
        let data = field(data, &[&field(1, &point)[..], &delta_and_monotonic].concat());
        field(1, &field(2, &field(2, &[field(1, name.as_bytes()), data].concat())))
    }

    fn add(series: &mut Series, now: i64, number: u8, metrics: &[u8]) {
        series.add(Millis(now), &client(number), INTERVAL_MS, metrics).expect("sound");
        series.check();
    }

    /// The lines with values: name, client, topic and value.
    fn told(series: &Series, now: i64) -> Vec<String> {
        let text = series.text(Millis(now));
        let values = text.lines().filter(|line| !line.starts_with('#'));
        let short = |line: &str| {
            let label = |name: &str| {
                let found = line.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
                found.map_or("", |(value, _)| value).to_owned()
            };
            let (name, value) = (line.split('{').next().expect("a name"), line.rsplit(' ').next().expect("a value"));
            format!("{name} {} {} {value}", label("client_id"), label("topic"))
        };
        values.map(short).collect()
    }

    #[test]
    fn gauges_are_replaced_and_sums_are_added_up() {
        let mut series = Series::new(100);
        for value in [1.5, 2.5] {
            add(&mut series, 0, 1, &metrics("org.apache.kafka.lag", 5, "a", value));
            add(&mut series, 0, 1, &metrics("org.apache.kafka.sent.total", 7, "a", value));
        }
        add(&mut series, 0, 2, &metrics("org.apache.kafka.lag", 5, "b", f64::INFINITY));
        let expected =
            ["org_apache_kafka_lag c1 a 2.5", "org_apache_kafka_lag c2 b +Inf", "org_apache_kafka_sent_total c1 a 4.0"];
        assert_eq!(told(&series, 0), expected);
        let text = series.text(Millis(0));
        assert!(text.contains("# TYPE org_apache_kafka_lag gauge\n"), "{text}");
        assert!(text.contains("# TYPE org_apache_kafka_sent counter\n"), "{text}");
    }

    #[test]
    fn no_number_takes_a_series_away() {
        let mut series = Series::new(100);
        add(&mut series, 0, 1, &metrics("x", 5, "a", f64::NAN));
        assert_eq!((series.len(), series.untold()), (0, 0));
        add(&mut series, 0, 1, &metrics("x", 5, "a", 1.0));
        add(&mut series, 0, 1, &metrics("x", 5, "a", f64::NAN));
        assert_eq!((series.len(), series.text(Millis(0)).as_str()), (0, ""));
    }

    #[test]
    fn a_name_is_one_kind_of_metric() {
        let mut series = Series::new(100);
        add(&mut series, 0, 1, &metrics("x.total", 7, "a", 1.0));
        add(&mut series, 0, 1, &metrics("x", 5, "a", 1.0));
        add(&mut series, 0, 1, &metrics("x", 9, "a", 1.0));
        assert_eq!((told(&series, 0), series.untold()), (vec!["client_x_total c1 a 1.0".to_owned()], 2));
    }

    #[test]
    fn a_counter_never_goes_down_and_always_is_a_number() {
        let mut series = Series::new(100);
        for value in [2.0, -5.0, f64::INFINITY, f64::NEG_INFINITY, 1.0, f64::MAX, f64::MAX] {
            add(&mut series, 0, 1, &metrics("x", 7, "a", value));
        }
        assert_eq!((told(&series, 0), series.untold()), (vec![format!("client_x_total c1 a {:?}", f64::MAX)], 4));
        add(&mut series, 0, 1, &metrics("x", 7, "a", f64::NAN));
        assert_eq!(series.len(), 0);
    }

    #[test]
    fn no_name_is_that_of_a_counters_lines() {
        let mut series = Series::new(100);
        add(&mut series, 0, 1, &metrics("x", 7, "a", 1.0));
        for clashing in ["x.total", "x.total.total", "x.created", "x.created.total", "total", "_total", ""] {
            add(&mut series, 0, 2, &metrics(clashing, 5, "a", 1.0));
        }
        assert_eq!(told(&series, 0), ["client_total c2 a 1.0", "client_x_total c1 a 1.0"]);
    }

    #[test]
    fn series_are_forgotten_a_minute_or_three_intervals_after_their_last_value() {
        let mut series = Series::new(100);
        add(&mut series, 0, 1, &metrics("x", 5, "a", 1.0));
        add(&mut series, 30_000, 1, &metrics("x", 5, "b", 1.0));
        series.add(Millis(0), &client(2), 300_000, &metrics("x", 5, "a", 1.0)).expect("sound");
        assert_eq!(told(&series, 60_000), ["client_x c1 b 1.0", "client_x c2 a 1.0"]);
        series.forget_quiet(Millis(90_000));
        series.check();
        assert_eq!((series.len(), told(&series, 90_000)), (1, vec!["client_x c2 a 1.0".to_owned()]));
        series.forget_quiet(Millis(900_000));
        assert_eq!((series.len(), series.size_bytes), (0, 0));
    }

    #[test]
    fn one_client_has_a_tenth_and_all_together_no_more_than_there_may_be() {
        let mut series = Series::new(50);
        for number in 1..20 {
            for topic in 0..9 {
                add(&mut series, 0, number, &metrics("x", 5, &topic.to_string(), 1.0));
            }
        }
        assert_eq!((series.len(), series.untold()), (50, 19 * 9 - 50));
        let of_first = told(&series, 0).iter().filter(|line| line.contains(" c1 ")).count();
        assert_eq!(of_first, 5);
        // Whoever comes when the others are quiet has their room.
        add(&mut series, 60_000, 77, &metrics("x", 5, "a", 1.0));
        assert_eq!(told(&series, 60_000), ["client_x c77 a 1.0"]);
    }

    #[test]
    fn long_labels_leave_room_for_fewer() {
        let mut series = Series::new(1000);
        for number in 0..100 {
            for topic in 0..9 {
                let client = Client { software_name: "s".repeat(20_000), ..client(number) };
                let metrics = metrics("x", 5, &topic.to_string(), 1.0);
                series.add(Millis(0), &client, INTERVAL_MS, &metrics).expect("sound");
                series.check();
            }
        }
        assert!((40..60).contains(&series.len()), "{}", series.len());
    }

    #[test]
    fn no_more_values_are_looked_at_than_a_client_may_have_series() {
        let mut series = Series::new(200);
        let all: Vec<u8> = (0..30).flat_map(|value| metrics("x", 5, "a", f64::from(value))).collect();
        add(&mut series, 0, 1, &all);
        assert_eq!((told(&series, 0), series.untold()), (vec!["client_x c1 a 19.0".to_owned()], 10));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let mut series = Series::new(100);
        let sound = metrics("x", 5, "a", 1.0);
        let damaged = [&sound[..], &[0xff]].concat();
        assert!(series.add(Millis(0), &client(1), INTERVAL_MS, &damaged).is_err());
        assert_eq!(series.len(), 0);
    }

    #[test]
    fn whatever_comes_it_keeps_its_promises() {
        for seed in 0..100 {
            let mut random = Random::from_seed(seed);
            let (mut series, mut now) = (Series::new(30), 0);
            for _ in 0..200 {
                now += random.below(2000) as i64;
                let name = ["x", "y.total", "org.apache.kafka.z", ""][random.below(4) as usize];
                let value = [1.0, f64::NAN, -1.0, f64::INFINITY][random.below(4) as usize];
                let metrics = metrics(name, 5 + 2 * random.below(3) as u8, &random.below(3).to_string(), value);
                add(&mut series, now, random.below(9) as u8, &metrics);
                if random.below(20) == 0 {
                    series.forget_quiet(Millis(now));
                    series.check();
                }
            }
        }
    }
}
