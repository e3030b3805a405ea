//! Client telemetry (KIP-714): clients that push their metrics, and the receiver of these.
//!
//! Who is asked for what, and whether a push is in order, is decided by [`Instances`]. Kafka hands the metrics to a plug-in
//! in Java; here the node itself receives them, and tells them to whoever reads its own metrics ([`Series`]). Without
//! `metrics.listen` nobody could read them: then there is no receiver, what is pushed is dropped unseen, and clients are not
//! told that they may push at all, as by a Kafka without plug-in.

mod names;
mod series;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use milena_base::Millis;
use milena_metadata::telemetry::{Accepted, Client, Instances, Push, Subscribed, Subscriptions};
use milena_protocol::compression::{Codec, CompressionError, decompress};
use milena_protocol::otlp::OtlpError;
use milena_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::series::Series;
use crate::settings::Settings;

/// What may be wrong with a request.
const REFUSALS: [ErrorCode; 6] = [
    ErrorCode::InvalidRecord,
    ErrorCode::InvalidRequest,
    ErrorCode::TelemetryTooLarge,
    ErrorCode::ThrottlingQuotaExceeded,
    ErrorCode::UnknownSubscriptionId,
    ErrorCode::UnsupportedCompressionType,
];

/// The clients of a node that push, and what they pushed.
#[derive(Debug)]
pub struct Telemetry {
    instances: Mutex<Instances>,
    receiver: Option<Mutex<Series>>,
    payload_bytes_max: usize,
    started: Instant,
    refused: [AtomicU64; REFUSALS.len()],
    received: AtomicU64,
}

/// Why metrics could not be received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// They cannot be inflated, or not within `telemetry.max.bytes`.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// They are no metrics.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

/// What a node tells of its telemetry.
pub(crate) struct Told {
    /// Clients that are known.
    pub(crate) instances: usize,
    /// Pushes whose metrics were received.
    pub(crate) received: u64,
    /// Requests that were refused, by error.
    pub(crate) refused: [(&'static str, u64); REFUSALS.len()],
    /// Series that are kept.
    pub(crate) series: usize,
    /// Values that found no room, or cannot be told.
    pub(crate) untold: u64,
    /// The series as OpenMetrics text.
    pub(crate) text: String,
}

impl Telemetry {
    /// Nobody pushes yet.
    pub(crate) fn new(settings: &Settings) -> Telemetry {
        let has_receiver = settings.metrics_listen.is_some() && settings.telemetry_series_max > 0;
        Telemetry {
            instances: Mutex::new(Instances::new(settings.telemetry_bytes_max)),
            receiver: has_receiver.then(|| Mutex::new(Series::new(settings.telemetry_series_max))),
            payload_bytes_max: settings.telemetry_bytes_max,
            started: Instant::now(),
            refused: Default::default(),
            received: AtomicU64::new(0),
        }
    }

    /// Whether anybody takes metrics. Otherwise clients are not told that they may push.
    pub(crate) fn has_receiver(&self) -> bool {
        self.receiver.is_some()
    }

    /// `telemetry.max.bytes`
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.payload_bytes_max
    }

    /// Takes over what clients are asked for.
    pub(crate) fn set_subscriptions(&self, subscriptions: Subscriptions) {
        self.instances.lock().set_subscriptions(subscriptions);
    }

    /// Whether a client has that id.
    pub(crate) fn is_known(&self, instance: Uuid) -> bool {
        self.instances.lock().is_known(instance)
    }

    /// A client asks what it is asked for.
    pub(crate) fn subscribe(&self, client: Client) -> Result<Subscribed, ErrorCode> {
        let subscribed = self.instances.lock().subscribe(self.now(), client);
        subscribed.inspect_err(|error| self.count(*error))
    }

    /// A client pushes. What it pushes is to be handed to [`Telemetry::receive`].
    pub(crate) fn push(&self, client: Client, push: Push) -> Result<Accepted, ErrorCode> {
        let accepted = self.instances.lock().push(self.now(), client, push);
        accepted.inspect_err(|error| self.count(*error))
    }

    /// Memory that [`Telemetry::receive`] may take besides the metrics as they were sent, in bytes.
    pub(crate) fn work_bytes(&self, codec: Codec, metrics: &[u8]) -> usize {
        match codec {
            Codec::None => 0,
            _ => codec.inflater_bytes(metrics) + 2 * self.payload_bytes_max,
        }
    }

    /// Takes the metrics of a push that was accepted. May take milliseconds: nothing for a data core.
    pub(crate) fn receive(&self, client: &Client, accepted: Accepted, metrics: &[u8]) -> Result<(), ReceiveError> {
        let Some(receiver) = &self.receiver else { return Ok(()) };
        let inflated;
        let metrics = match accepted.codec {
            Codec::None => metrics,
            codec => {
                inflated = decompress(codec, metrics, self.payload_bytes_max)?;
                &inflated[..]
            }
        };
        receiver.lock().add(self.now(), client, accepted.interval_ms, metrics)?;
        self.received.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The metrics of a push could not be received.
    pub(crate) fn not_received(&self, instance: Uuid) -> ErrorCode {
        self.instances.lock().received(instance, ErrorCode::InvalidRecord);
        self.count(ErrorCode::InvalidRecord);
        ErrorCode::InvalidRecord
    }

    /// A connection has ended.
    pub(crate) fn disconnected(&self, address: SocketAddr) {
        self.instances.lock().disconnected(address);
    }

    /// Forgets clients, and series, that nothing was heard of for some of their intervals.
    pub(crate) fn forget_quiet(&self) {
        self.instances.lock().forget_quiet(self.now());
        if let Some(receiver) = &self.receiver {
            receiver.lock().forget_quiet(self.now());
        }
    }

    /// Everything that there is to tell.
    pub(crate) fn told(&self) -> Told {
        let count = |at: usize| (REFUSALS[at].name(), self.refused[at].load(Ordering::Relaxed));
        let (series, untold, text) = match &self.receiver {
            Some(receiver) => {
                let series = receiver.lock();
                (series.len(), series.untold(), series.text(self.now()))
            }
            None => (0, 0, String::new()),
        };
        Told {
            instances: self.instances.lock().len(),
            received: self.received.load(Ordering::Relaxed),
            refused: std::array::from_fn(count),
            series,
            untold,
            text,
        }
    }

    fn count(&self, error: ErrorCode) {
        if let Some(at) = REFUSALS.iter().position(|known| *known == error) {
            self.refused[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A clock that does not jump.
    fn now(&self) -> Millis {
        Millis(self.started.elapsed().as_millis() as i64)
    }
}
