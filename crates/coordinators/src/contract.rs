//! The contract of a shard, for the shell that runs it: whatever keeps it can be run over an internal topic.

use core::fmt::Debug;

use milena_base::Millis;
use milena_protocol::ErrorCode;

use crate::{Decision, Entry, Origin, Reply, ReplyTo};

/// A machine that owns one partition of an internal topic. See the [crate] for the order of the calls.
///
/// Implementations MUST decide by their arguments and their log alone, MUST change durable state only in
/// [`Shard::replay`], MUST answer every request exactly once, here or in [`Shard::unloaded`], and MUST NOT panic
/// whatever a client sends or a log holds.
pub trait Shard: Sized + Send + 'static {
    /// Who asks, and in which version.
    type Context: Send + 'static;
    /// What is asked.
    type Request: Clone + Send + 'static;
    /// What is answered.
    type Response: Debug + Send + 'static;
    /// A request, or something that the shard is told.
    type Event: Clone + Send + 'static;
    /// What the shell is to do outside of the shard, once the high watermark has passed everything that the shard
    /// has written. The shell answers with an event. Effects are lost with their shard: [`Shard::loaded`] emits
    /// those that are unfinished again. A machine MUST have at most one under way for each thing that it owns.
    type Effect: Send + 'static;
    /// Figures for logs and metrics; the default stands for an empty shard.
    type Counts: Debug + Default + PartialEq;

    /// The event of a request.
    fn asked(to: ReplyTo, context: Self::Context, request: Self::Request) -> Self::Event;

    /// The API version that an answer is written in.
    fn version(context: &Self::Context) -> i16;

    /// The answer to a request that no shard decided about.
    fn failure(request: &Self::Request, version: i16, error: ErrorCode) -> Self::Response;

    /// What is answered in place of `response` when its decision could not be kept.
    fn failed(response: Self::Response, version: i16, error: ErrorCode) -> Self::Response;

    /// How large the answer to a request would be now, in bytes on the wire: never less, and little more. 0 where answers
    /// do not grow with what the shard holds. Changes nothing, and takes no longer than the answer itself.
    fn weigh(&self, request: &Self::Request) -> usize;

    /// Follows the log: first all of it, then each record of each decision, before anything else is asked.
    ///
    /// # Errors
    /// If a record of a known type is damaged. Records of unknown types are skipped and counted.
    fn replay(&mut self, at: Origin, entry: &Entry) -> Result<(), ReplayError>;

    /// The whole log is replayed: timers start, unfinished effects are emitted again.
    fn loaded(&mut self, now: Millis) -> Decision<Self::Response, Self::Effect>;

    /// Decides about one event.
    fn handle(&mut self, now: Millis, event: Self::Event) -> Decision<Self::Response, Self::Effect>;

    /// When [`Shard::tick`] wants to be called next.
    fn next_deadline(&self) -> Option<Millis>;

    /// Does one thing that is due at `now`, nothing if none is. The shell appends and replays, and calls again
    /// while [`Shard::next_deadline`] is not later than `now`.
    fn tick(&mut self, now: Millis) -> Decision<Self::Response, Self::Effect>;

    /// This node is no longer the coordinator: everybody who waits is told so (NOT_COORDINATOR).
    fn unloaded(self) -> Vec<Reply<Self::Response>>;

    /// Figures. Looks at everything.
    fn counts(&self) -> Self::Counts;
}

/// Why an entry of the log cannot be replayed. The shell gives up the load and reports the partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record of a known type is damaged.
    #[error("the record at offset {offset} is damaged: {reason}")]
    Damaged {
        /// Where it stands.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
}
