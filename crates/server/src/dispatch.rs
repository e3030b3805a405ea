//! One match on the key of a request. What stands in [`SERVED`] is answered, and advertised but for telemetry without a receiver;
//! nothing else is.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use milena_base::Disk;
use milena_metadata::controller::Caller;
use milena_protocol::header::{RequestHeader, response_frame};
use milena_protocol::wire::{DecodeError, Decoder};
use milena_protocol::{ApiKey, Message};
use tokio::time::Instant;

use crate::answer::{Answer, FileRange};
use crate::api;
use crate::connection::Peer;
use crate::growing::{Growing, NoRoom};
use crate::node::Node;
use crate::quotas::{ANONYMOUS, Measure};
use crate::throttle::Throttle;
use crate::world::World;

/// The APIs of a broker's listener.
pub const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::GetTelemetrySubscriptions,
    ApiKey::PushTelemetry,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// A request above this size waits for room before it is answered.
const LARGE_REQUEST_BYTES: usize = 16 * 1024;

/// What decoding may make of one request: 400 000 partitions of a Fetch. Record batches stay in the frame and do not count.
const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What becomes of a request.
pub enum Outcome<D: Disk> {
    /// It is answered.
    Answer(Answer<D>),
    /// It wants no answer (produce with acks=0).
    Silence,
    /// The connection ends, for the reason given.
    Close(String),
}

impl<D: Disk> Outcome<D> {
    /// Bytes of the answer that are held in memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Outcome::Answer(answer) => answer.memory_bytes(),
            Outcome::Silence | Outcome::Close(_) => 0,
        }
    }
}

/// What will become of a request, whatever happens to its connection meanwhile.
pub type Later<D> = Pin<Box<dyn Future<Output = Outcome<D>> + Send>>;

/// How far a request is when the next one of its connection may be looked at.
pub enum Progress<D: Disk> {
    /// Done.
    Done(Outcome<D>),
    /// Its records are appended, and not yet as durable as their topics promise.
    Appended(Later<D>),
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHeader {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl AnswerHeader {
    /// Encodes an answer whose external records are `ranges`.
    pub fn answer<M: Message, D: Disk>(&self, response: &M, ranges: Vec<FileRange<D>>) -> Outcome<D> {
        match response_frame(self.key, response, self.version, self.correlation_id) {
            Ok(segments) => Outcome::Answer(Answer { segments, ranges, room: None }),
            // A mistake of ours: the answer says something that its version has no words for.
            Err(error) => {
                tracing::error!(api = self.key.name(), version = self.version, %error, "answer not sent");
                Outcome::Close(error.to_string())
            }
        }
    }
}

/// A request on its way: who asks, and in which version.
pub struct Call<'a, W: World> {
    /// The node that is asked.
    pub node: &'a Arc<Node<W>>,
    /// Who asks.
    pub peer: &'a Peer,
    /// The API.
    pub key: ApiKey,
    /// The header, with the version and the client id.
    pub header: RequestHeader,
    /// Where its connection hears that it is throttled.
    pub throttle: &'a Throttle,
}

impl<W: World> Call<'_, W> {
    /// The version of the request, and of its answer.
    pub fn version(&self) -> i16 {
        self.header.version
    }

    /// The client id; a client without one has the empty one.
    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }

    /// Who asks, for the controller.
    pub fn caller(&self, is_strict: bool) -> Caller {
        Caller { user: ANONYMOUS.to_owned(), client_id: self.client_id().to_owned(), is_strict }
    }

    /// Counts the time that the request took so far, and answers for how long the client is to be throttled for that, in
    /// milliseconds. The time from here on counts, but is not asked about.
    pub fn throttled_for_time(&self) -> u32 {
        if !self.node.quotas.is_active(Measure::Time) {
            return 0;
        }
        self.throttle.set_payer(self.client_id());
        self.node.quotas.record_time(self.client_id(), self.throttle.take_spent())
    }

    /// Tells the client for how long it is throttled, and its connection: for the request's time, or as the response says
    /// already, if that is longer.
    pub fn settle<M: Message>(&self, response: &mut M) {
        let for_time = if is_exempt(self.key) { 0 } else { self.throttled_for_time() };
        let Some(told) = response.throttle_time_ms() else { return self.throttle.delay(for_time) };
        let delay_ms = for_time.max(u32::try_from(*told).unwrap_or(0));
        if delay_ms > 0 {
            *told = i32::try_from(delay_ms).unwrap_or(i32::MAX);
            self.throttle.delay(delay_ms);
        }
    }

    /// For an answer that is encoded when the call is over.
    pub fn answer_header(&self) -> AnswerHeader {
        AnswerHeader { key: self.key, version: self.header.version, correlation_id: self.header.correlation_id }
    }

    /// Encodes an answer that is all in memory.
    pub fn answer<M: Message>(&self, response: &M) -> Outcome<W::Disk> {
        self.answer_with(response, Vec::new())
    }

    /// Encodes an answer whose external records are `ranges`.
    pub fn answer_with<M: Message>(&self, response: &M, ranges: Vec<FileRange<W::Disk>>) -> Outcome<W::Disk> {
        self.answer_header().answer(response, ranges)
    }
}

/// Decodes the request, calls the API's function and encodes what it returns.
macro_rules! serve {
    ($call:ident, $decoder:ident, $function:path) => {{
        match decode(&mut $decoder, $call.version()) {
            Ok(request) => {
                let mut response = $function($call, request).await;
                $call.settle(&mut response);
                $call.answer(&response)
            }
            Err(error) => malformed($call, &error),
        }
    }};
}

/// [`serve!`] for an answer whose parts may be refused where there is no room for them.
macro_rules! serve_parts {
    ($call:ident, $decoder:ident, $growing:ident, $function:path) => {{
        match decode(&mut $decoder, $call.version()) {
            Ok(request) => {
                let mut response = $function($call, request, $growing).await;
                $call.settle(&mut response);
                $call.answer(&response)
            }
            Err(error) => malformed($call, &error),
        }
    }};
}

/// [`serve!`] for an answer of which no part can be left out: it is made again where it found no room.
macro_rules! serve_whole {
    ($call:ident, $decoder:ident, $growing:ident, $function:path) => {{
        match decode(&mut $decoder, $call.version()) {
            Ok(request) => loop {
                match $function($call, &request, $growing).await {
                    Ok(mut response) => {
                        $call.settle(&mut response);
                        break $call.answer(&response);
                    }
                    Err(NoRoom) => $growing.start_over().await,
                }
            },
            Err(error) => malformed($call, &error),
        }
    }};
}

/// [`serve!`] for what needs nobody to be asked, and may be found to be no request that anybody reads.
macro_rules! serve_readable {
    ($call:ident, $decoder:ident, $function:path) => {{
        match decode(&mut $decoder, $call.version()) {
            Ok(request) => match $function(&request) {
                Ok(mut response) => {
                    $call.settle(&mut response);
                    $call.answer(&response)
                }
                Err(reason) => malformed($call, reason),
            },
            Err(error) => malformed($call, &error),
        }
    }};
}

/// Answers one frame, or brings a Produce so far that the next one may be appended.
pub async fn dispatch<W: World>(
    node: &Arc<Node<W>>,
    peer: &Peer,
    throttle: &Throttle,
    frame: Bytes,
) -> Progress<W::Disk> {
    let mut decoder = Decoder::new(frame).within(DECODED_BYTES_MAX);
    let call = match accept(node, peer, throttle, &mut decoder) {
        Ok(call) => call,
        Err(outcome) => return Progress::Done(outcome),
    };
    node.metrics.requested(call.key);
    if call.key != ApiKey::Produce {
        let started = Instant::now();
        let outcome = answer_within_bounds(&call, decoder).await;
        node.metrics.answered(call.key, started.elapsed());
        return Progress::Done(outcome);
    }
    // Without the header, as Kafka counts it.
    let size_bytes = decoder.remaining();
    match decode(&mut decoder, call.version()) {
        Ok(request) => api::produce::produce(&call, request, size_bytes).await,
        Err(error) => Progress::Done(malformed(&call, &error)),
    }
}

/// Reads the header of a request that is served.
fn accept<'a, W: World>(
    node: &'a Arc<Node<W>>,
    peer: &'a Peer,
    throttle: &'a Throttle,
    decoder: &mut Decoder,
) -> Result<Call<'a, W>, Outcome<W::Disk>> {
    let mut header =
        RequestHeader::decode_prefix(decoder).map_err(|error| Outcome::Close(format!("no request header: {error}")))?;
    let key = ApiKey::from_number(header.key).filter(|key| SERVED.contains(key));
    let key = key.ok_or_else(|| Outcome::Close(format!("API key {} is not served", header.key)))?;
    let known = (key.oldest()..=key.newest()).contains(&header.version);
    if !known && key != ApiKey::ApiVersions {
        return Err(Outcome::Close(format!("{} has no version {}", key.name(), header.version)));
    }
    header
        .decode_rest(decoder, key)
        .map_err(|error| Outcome::Close(format!("bad header of {}: {error}", key.name())))?;
    let mut call = Call { node, peer, key, header, throttle };
    if !known {
        // Trap 1: the only request that is answered in a version that nobody asked for.
        call.header.version = 0;
        return Err(call.answer(&api::api_versions::unsupported_version()));
    }
    Ok(call)
}

/// Answers every request but Produce, with no more memory than the node has for answers.
async fn answer_within_bounds<W: World>(call: &Call<'_, W>, decoder: Decoder) -> Outcome<W::Disk> {
    let answers = &call.node.memory.answers;
    if decoder.remaining() > LARGE_REQUEST_BYTES && answers.is_wanted() {
        // What names very many things may be answered at length, and not every answer reserves its memory.
        drop(answers.room(0).await);
    }
    let mut growing = Growing::new(answers);
    // What names very many things and only reads may take long and much memory on its way: few at the same time, and
    // those who ask for little pass them.
    let is_long = decoder.remaining() > LARGE_REQUEST_BYTES && grows(call.key);
    let _turn = if is_long { Some(answers.long_turn().await) } else { None };
    match answer(call, decoder, &mut growing).await {
        Outcome::Answer(answer) => {
            // From now on it takes what it takes on the wire.
            let room = growing.encoded(answer.memory_bytes());
            Outcome::Answer(Answer { room, ..answer })
        }
        outcome => outcome,
    }
}

/// Whether the memory of an answer is reserved as it grows. Such a request only reads.
pub(crate) fn grows(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::OffsetFetch
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::DescribeConfigs
            | ApiKey::DescribeClientQuotas
            | ApiKey::DescribeProducers
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
            | ApiKey::DescribeLogDirs
            | ApiKey::ListConfigResources
            | ApiKey::ListPartitionReassignments
            | ApiKey::DescribeTopicPartitions
    )
}

/// Answers every request but Produce.
async fn answer<W: World>(call: &Call<'_, W>, mut decoder: Decoder, growing: &mut Growing<'_>) -> Outcome<W::Disk> {
    match call.key {
        ApiKey::Fetch => match decode(&mut decoder, call.version()) {
            Ok(request) => api::fetch::fetch(call, request).await,
            Err(error) => malformed(call, &error),
        },
        ApiKey::ListOffsets => serve_whole!(call, decoder, growing, api::list_offsets::list_offsets),
        ApiKey::Metadata => serve_whole!(call, decoder, growing, api::metadata::metadata),
        ApiKey::OffsetCommit => serve!(call, decoder, api::groups::offset_commit),
        ApiKey::OffsetFetch => serve_parts!(call, decoder, growing, api::groups::offset_fetch),
        ApiKey::FindCoordinator => serve!(call, decoder, api::find_coordinator::find_coordinator),
        ApiKey::JoinGroup => serve!(call, decoder, api::groups::join_group),
        ApiKey::Heartbeat => serve!(call, decoder, api::groups::heartbeat),
        ApiKey::LeaveGroup => serve!(call, decoder, api::groups::leave_group),
        ApiKey::SyncGroup => serve!(call, decoder, api::groups::sync_group),
        ApiKey::DescribeGroups => serve_parts!(call, decoder, growing, api::groups::describe_groups),
        ApiKey::ListGroups => serve_whole!(call, decoder, growing, api::groups::list_groups),
        ApiKey::ApiVersions => serve!(call, decoder, api::api_versions::api_versions),
        ApiKey::CreateTopics => serve!(call, decoder, api::topics::create_topics),
        ApiKey::DeleteTopics => serve!(call, decoder, api::topics::delete_topics),
        ApiKey::DeleteRecords => serve!(call, decoder, api::delete_records::delete_records),
        ApiKey::InitProducerId => serve!(call, decoder, api::init_producer_id::init_producer_id),
        ApiKey::OffsetForLeaderEpoch => serve_whole!(call, decoder, growing, api::epochs::offset_for_leader_epoch),
        ApiKey::AddPartitionsToTxn => serve!(call, decoder, api::add_to_txn::add_partitions_to_txn),
        ApiKey::AddOffsetsToTxn => serve!(call, decoder, api::add_to_txn::add_offsets_to_txn),
        ApiKey::EndTxn => serve!(call, decoder, api::transactions::end_txn),
        ApiKey::WriteTxnMarkers => serve!(call, decoder, api::write_txn_markers::write_txn_markers),
        ApiKey::TxnOffsetCommit => serve!(call, decoder, api::txn_offset_commit::txn_offset_commit),
        ApiKey::DescribeAcls => serve_readable!(call, decoder, api::acls::describe_acls),
        ApiKey::CreateAcls => serve_readable!(call, decoder, api::acls::create_acls),
        ApiKey::DeleteAcls => serve_readable!(call, decoder, api::acls::delete_acls),
        ApiKey::DescribeConfigs => serve_whole!(call, decoder, growing, api::configs::describe_configs),
        ApiKey::AlterConfigs => serve!(call, decoder, api::configs::alter_configs),
        ApiKey::AlterReplicaLogDirs => serve!(call, decoder, api::alter_log_dirs::alter_replica_log_dirs),
        ApiKey::DescribeLogDirs => serve_whole!(call, decoder, growing, api::log_dirs::describe_log_dirs),
        ApiKey::CreatePartitions => serve!(call, decoder, api::topics::create_partitions),
        ApiKey::DeleteGroups => serve!(call, decoder, api::groups::delete_groups),
        ApiKey::ElectLeaders => serve!(call, decoder, api::topics::elect_leaders),
        ApiKey::IncrementalAlterConfigs => serve!(call, decoder, api::configs::incremental_alter_configs),
        ApiKey::DescribeClientQuotas => {
            serve_whole!(call, decoder, growing, api::client_quotas::describe_client_quotas)
        }
        ApiKey::AlterClientQuotas => serve!(call, decoder, api::client_quotas::alter_client_quotas),
        ApiKey::OffsetDelete => serve!(call, decoder, api::groups::offset_delete),
        ApiKey::ConsumerGroupHeartbeat => serve!(call, decoder, api::consumer_groups::consumer_group_heartbeat),
        ApiKey::ConsumerGroupDescribe => {
            serve_parts!(call, decoder, growing, api::consumer_groups::consumer_group_describe)
        }
        ApiKey::DescribeQuorum => serve!(call, decoder, api::quorum::describe_quorum),
        ApiKey::UpdateFeatures => serve!(call, decoder, api::changes::update_features),
        ApiKey::AlterPartitionReassignments => {
            serve!(call, decoder, api::reassignments::alter_partition_reassignments)
        }
        ApiKey::ListPartitionReassignments => {
            serve_whole!(call, decoder, growing, api::reassignments::list_partition_reassignments)
        }
        ApiKey::UnregisterBroker => serve!(call, decoder, api::changes::unregister_broker),
        ApiKey::DescribeCluster => serve!(call, decoder, api::cluster::describe_cluster),
        ApiKey::DescribeProducers => serve_whole!(call, decoder, growing, api::describe_producers::describe_producers),
        ApiKey::DescribeTransactions => serve_parts!(call, decoder, growing, api::transactions::describe_transactions),
        ApiKey::ListTransactions => serve_whole!(call, decoder, growing, api::transactions::list_transactions),
        ApiKey::GetTelemetrySubscriptions => serve!(call, decoder, api::telemetry::get_telemetry_subscriptions),
        ApiKey::PushTelemetry => serve!(call, decoder, api::telemetry::push_telemetry),
        ApiKey::ListConfigResources => {
            serve_whole!(call, decoder, growing, api::config_resources::list_config_resources)
        }
        ApiKey::DescribeTopicPartitions => {
            serve_whole!(call, decoder, growing, api::cluster::describe_topic_partitions)
        }
        ApiKey::Produce => unreachable!("dispatched by itself"),
        ApiKey::Vote
        | ApiKey::BeginQuorumEpoch
        | ApiKey::EndQuorumEpoch
        | ApiKey::FetchSnapshot
        | ApiKey::BrokerRegistration
        | ApiKey::BrokerHeartbeat
        | ApiKey::AllocateProducerIds => unreachable!("not in SERVED"),
    }
}

/// What brokers ask of one another is not throttled.
fn is_exempt(key: ApiKey) -> bool {
    key == ApiKey::WriteTxnMarkers
}

/// Reads a request that fills its frame.
fn decode<M: Message>(decoder: &mut Decoder, version: i16) -> Result<M, DecodeError> {
    M::decode(decoder, version)
}

/// Trap 11: nobody can know what a malformed request wanted, so the connection ends.
fn malformed<W: World>(call: &Call<'_, W>, error: impl Display) -> Outcome<W::Disk> {
    Outcome::Close(format!("malformed {} version {}: {error}", call.key.name(), call.version()))
}
