//! Metrics as clients push them (KIP-714): the message `MetricsData` of OpenTelemetry, in the wire form of Protocol Buffers.
//!
//! Only what clients of Kafka send is taken apart: gauges and sums, with their names and attributes. Nothing is built from
//! the message but one [`Point`] after the other, which borrows from it, so that reading takes no memory that a length in the
//! message could ask for. A generated decoder would build the whole tree first.
//!
//! ```text
//!   MetricsData ─► ResourceMetrics ─► ScopeMetrics ─► Metric ─► Gauge | Sum ─► NumberDataPoint ─► attributes, value
//!                       └─► Resource: attributes
//! ```
//!
//! Source: `opentelemetry/proto/metrics/v1/metrics.proto`, `common/v1/common.proto`, `resource/v1/resource.proto`.

mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use fields::{
    Field, Fields,
    Value::{Bytes, Fixed64, Varint},
};

/// Attributes of a resource, or of a data point, that are looked at; further ones are left out.
pub const ATTRIBUTES_MAX: usize = 32;
/// The data point has no value: there was none to be recorded.
const NO_VALUE_FLAG: u64 = 1;

/// Why bytes are no metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// They end in the middle of a field.
    #[error("the metrics end within a field")]
    Truncated,
    /// A number has more than ten bytes.
    #[error("a number in the metrics is too long")]
    Varint,
    /// A field has the number 0, or a form that does not exist.
    #[error("the metrics hold no field where one should be")]
    Tag,
    /// A text is not UTF-8.
    #[error("a text in the metrics is not UTF-8")]
    Text,
}

/// How a value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It replaces the former one.
    Gauge,
    /// It was summed up.
    Sum {
        /// It never goes down.
        is_monotonic: bool,
        /// It is what was added since the former report, and not since the start.
        is_delta: bool,
    },
}

/// A name and what it says of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute<'a> {
    /// The name.
    pub key: &'a str,
    /// The value as text.
    pub value: Cow<'a, str>,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What it is about, for people.
    pub description: &'a str,
    /// How to read the value.
    pub kind: Kind,
    /// The value; whole numbers beyond 2⁵³ are rounded.
    pub value: f64,
    /// What is said of all metrics of this client.
    pub resource: &'a [Attribute<'a>],
    /// What tells this value from others of the metric.
    pub attributes: &'a [Attribute<'a>],
}

/// Reads `MetricsData` and hands each value to `take`. Answers how many metrics are of a kind that is not read: histograms and
/// summaries.
///
/// # Errors
/// If the bytes are no such message. What was handed out until then is not taken back: whoever wants all or nothing reads
/// twice.
pub fn read(bytes: &[u8], take: &mut impl FnMut(&Point<'_>)) -> Result<usize, OtlpError> {
    let mut unread = 0;
    for field in Fields::new(bytes) {
        if let Field { number: 1, value: Bytes(message) } = field? {
            unread += resource_metrics(message, take)?;
        }
    }
    Ok(unread)
}

fn resource_metrics(bytes: &[u8], take: &mut impl FnMut(&Point<'_>)) -> Result<usize, OtlpError> {
    // Fields may come in any order, so what belongs to all others is looked for first.
    let mut resource = Vec::new();
    for field in Fields::new(bytes) {
        if let Field { number: 1, value: Bytes(message) } = field? {
            attributes(message, 1, &mut resource)?;
        }
    }
    let mut unread = 0;
    for field in Fields::new(bytes) {
        if let Field { number: 2, value: Bytes(message) } = field? {
            unread += scope_metrics(message, &resource, take)?;
        }
    }
    Ok(unread)
}

fn scope_metrics(
    bytes: &[u8],
    resource: &[Attribute<'_>],
    take: &mut impl FnMut(&Point<'_>),
) -> Result<usize, OtlpError> {
    let mut unread = 0;
    for field in Fields::new(bytes) {
        if let Field { number: 2, value: Bytes(message) } = field? {
            unread += usize::from(!metric(message, resource, take)?);
        }
    }
    Ok(unread)
}

/// False if the metric is of a kind that is not read.
fn metric(bytes: &[u8], resource: &[Attribute<'_>], take: &mut impl FnMut(&Point<'_>)) -> Result<bool, OtlpError> {
    let (mut name, mut description) = ("", "");
    let mut data = None;
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 1, value: Bytes(said) } => name = text(said)?,
            Field { number: 2, value: Bytes(said) } => description = text(said)?,
            // Of several kinds of data the last one counts.
            Field { number: 5, value: Bytes(message) } => data = Some((Kind::Gauge, message)),
            Field { number: 7, value: Bytes(message) } => data = Some((sum(message)?, message)),
            Field { number: 9..=11, value: Bytes(_) } => data = None,
            _ => {}
        }
    }
    let Some((kind, points)) = data else { return Ok(false) };
    let mut own = Vec::new();
    for field in Fields::new(points) {
        if let Field { number: 1, value: Bytes(message) } = field? {
            own.clear();
            if let Some(value) = data_point(message, &mut own)? {
                take(&Point { name, description, kind, value, resource, attributes: &own });
            }
        }
    }
    Ok(true)
}

fn sum(bytes: &[u8]) -> Result<Kind, OtlpError> {
    /// `AGGREGATION_TEMPORALITY_DELTA`
    const DELTA: u64 = 1;
    let (mut is_monotonic, mut is_delta) = (false, false);
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 2, value: Varint(temporality) } => is_delta = temporality == DELTA,
            Field { number: 3, value: Varint(flag) } => is_monotonic = flag != 0,
            _ => {}
        }
    }
    Ok(Kind::Sum { is_monotonic, is_delta })
}

/// The value, if there is one.
fn data_point<'a>(bytes: &'a [u8], own: &mut Vec<Attribute<'a>>) -> Result<Option<f64>, OtlpError> {
    let (mut found, mut has_none) = (None, false);
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 4, value: Fixed64(bits) } => found = Some(f64::from_bits(bits)),
            Field { number: 6, value: Fixed64(number) } => found = Some(number as i64 as f64),
            Field { number: 8, value: Varint(flags) } => has_none = flags & NO_VALUE_FLAG != 0,
            _ => {}
        }
    }
    attributes(bytes, 7, own)?;
    Ok(found.filter(|_| !has_none))
}

/// Adds the attributes that stand in a message under `number`.
fn attributes<'a>(bytes: &'a [u8], number: u32, found: &mut Vec<Attribute<'a>>) -> Result<(), OtlpError> {
    for field in Fields::new(bytes) {
        match field? {
            Field { number: at, value: Bytes(message) } if at == number => {
                let attribute = attribute(message)?;
                if found.len() < ATTRIBUTES_MAX {
                    found.extend(attribute);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `None` where the value is a list, or a map: no label can say it.
fn attribute(bytes: &[u8]) -> Result<Option<Attribute<'_>>, OtlpError> {
    let (mut key, mut said) = ("", Some(Cow::Borrowed("")));
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 1, value: Bytes(name) } => key = text(name)?,
            Field { number: 2, value: Bytes(message) } => said = any_value(message)?,
            _ => {}
        }
    }
    Ok(said.map(|value| Attribute { key, value }))
}

fn any_value(bytes: &[u8]) -> Result<Option<Cow<'_, str>>, OtlpError> {
    let mut said = Some(Cow::Borrowed(""));
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 1, value: Bytes(value) } => said = Some(text(value)?.into()),
            Field { number: 2, value: Varint(flag) } => said = Some((flag != 0).to_string().into()),
            Field { number: 3, value: Varint(number) } => said = Some((number as i64).to_string().into()),
            Field { number: 4, value: Fixed64(bits) } => said = Some(f64::from_bits(bits).to_string().into()),
            Field { number: 5..=7, value: Bytes(_) } => said = None,
            _ => {}
        }
    }
    Ok(said)
}

fn text(bytes: &[u8]) -> Result<&str, OtlpError> {
    std::str::from_utf8(bytes).map_err(|_| OtlpError::Text)
}
