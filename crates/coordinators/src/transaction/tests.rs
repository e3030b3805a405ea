//! One file per event, one test per rule; rules that Kafka's clients rely on carry the number of their trap. Every
//! test drives a whole shard, with a log that is appended, replayed and, where asked, loaded anew.

mod add_partitions;
mod end;
mod expiry;
mod init_producer_id;
mod marking;
mod records;
mod simulation;
mod timeout;
mod weight;

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_base::Millis;
use milena_protocol::messages::describe_transactions_response::TransactionState;
use milena_protocol::messages::{
    DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
    ListTransactionsRequest,
};
use milena_protocol::{ErrorCode, LeaderEpoch, Message, Offset, ProducerEpoch, ProducerId, TopicPartition};

use super::record::{self, Parsed};
use super::{
    Context, Effect, Event, Filters, Marked, Participation, Request, Response, Settings, State, TransactionShard,
    refuse,
};
use crate::{CoordinatorRecord, Decision, Entry, Marker, Origin, ReplyTo, Shard};

const TIMEOUT_MS: i32 = 60_000;
/// The newest versions.
const INIT: i16 = 5;
const ADD: i16 = 5;
const END: i16 = 5;
/// The newest EndTxn with one epoch for all transactions.
const END_OLD: i16 = 4;

/// Who a producer is.
type Identity = (i64, i16);

/// A shard with its log, its clock, whoever asked it something, and what it wants done.
struct World {
    shard: TransactionShard,
    settings: Settings,
    level: i8,
    now: Millis,
    log: Vec<(Origin, Entry)>,
    answers: BTreeMap<ReplyTo, Response>,
    effects: Vec<Effect>,
    asked: u64,
    next_producer_id: i64,
}

impl World {
    fn new() -> World {
        World::with(Settings::default(), 2)
    }

    fn with(settings: Settings, level: i8) -> World {
        let mut world = World {
            shard: TransactionShard::new(settings, LeaderEpoch(7), level),
            settings,
            level,
            now: Millis(1_000_000),
            log: Vec::new(),
            answers: BTreeMap::new(),
            effects: Vec::new(),
            asked: 0,
            next_producer_id: 100,
        };
        let decision = world.shard.loaded(world.now);
        world.apply(decision);
        world
    }

    /// Loses everything but the log, and loads it.
    fn reload(&mut self) {
        self.shard = TransactionShard::new(self.settings, LeaderEpoch(7), self.level);
        self.effects.clear();
        for (at, entry) in &self.log {
            self.shard.replay(*at, entry).expect("the log is sound");
        }
        self.shard.check();
        let decision = self.shard.loaded(self.now);
        self.apply(decision);
        self.wait(0);
    }

    fn apply(&mut self, decision: Decision<Response, Effect>) -> Vec<CoordinatorRecord> {
        let end = Offset(self.log.len() as i64);
        for record in &decision.records {
            let at = Origin { offset: Offset(self.log.len() as i64), producer: None };
            let entry = Entry::Record(record.clone());
            self.shard.replay(at, &entry).expect("own records are sound");
            self.log.push((at, entry));
        }
        for reply in decision.replies {
            assert!(reply.written.is_none_or(|written| written < end), "answers wait for records that exist");
            assert_eq!(self.answers.insert(reply.to, reply.response), None, "{:?} is answered once", reply.to);
        }
        self.effects.extend(decision.effects);
        self.shard.check();
        decision.records
    }

    /// Lets time pass, with everything that becomes due in it.
    fn wait(&mut self, ms: i64) {
        let end = self.now + Millis(ms);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let decision = self.shard.tick(self.now);
            self.apply(decision);
        }
        self.now = end;
    }

    fn tell(&mut self, event: Event) {
        let decision = self.shard.handle(self.now, event);
        self.apply(decision);
        self.wait(0);
    }

    /// Asks, without carrying out what the shard wants done.
    fn begin(&mut self, version: i16, request: Request) -> ReplyTo {
        self.asked += 1;
        let to = ReplyTo(self.asked);
        match refuse(&request, version, &self.settings) {
            Some(response) => drop(self.answers.insert(to, response)),
            None => {
                let weight = self.shard.weigh(&request);
                self.tell(Event::Request { to, context: Context { version }, request });
                if let Some(Response::Described(states)) = self.answers.get(&to) {
                    let size = size_of(states);
                    assert!(size <= weight + 16, "{size} bytes, and {weight} were said: {states:?}");
                }
            }
        }
        to
    }

    fn answer(&mut self, to: ReplyTo) -> Response {
        self.answers.remove(&to).expect("it is answered")
    }

    /// Asks, and gives producer ids to whoever waits for one.
    fn ask(&mut self, version: i16, request: Request) -> Response {
        let to = self.begin(version, request);
        self.give_producer_ids();
        self.answer(to)
    }

    fn give_producer_ids(&mut self) {
        let (ids, others) = std::mem::take(&mut self.effects)
            .into_iter()
            .partition::<Vec<_>, _>(|effect| matches!(effect, Effect::ProducerId { .. }));
        self.effects = others;
        for effect in ids {
            let Effect::ProducerId { transactional_id } = effect else { unreachable!("they are apart") };
            self.next_producer_id += 1;
            self.tell(Event::ProducerId { transactional_id, id: Ok(ProducerId(self.next_producer_id)) });
        }
    }

    /// Every marker that is wanted is written.
    fn write_markers(&mut self) -> Vec<Marker> {
        self.write_markers_as(|_| Marked::Written)
    }

    fn write_markers_as(&mut self, marked: impl Fn(&TopicPartition) -> Marked) -> Vec<Marker> {
        let mut markers = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::WriteMarkers { transactional_id, marker, partitions } => {
                    markers.push(marker);
                    let results = partitions.into_iter().map(|partition| (partition.clone(), marked(&partition)));
                    self.tell(Event::Marked { transactional_id, results: results.collect() });
                }
                other @ Effect::ProducerId { .. } => self.effects.push(other),
            }
        }
        markers
    }

    fn init(&mut self, request: InitProducerIdRequest) -> InitProducerIdResponse {
        match self.ask(INIT, Request::InitProducerId(request)) {
            Response::InitProducerId(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// A producer enters, and whatever it found open is over before.
    fn enter(&mut self, id: &str) -> Identity {
        let mut response = self.init(init(id));
        if response.error_code == ErrorCode::ConcurrentTransactions.number() {
            self.write_markers();
            response = self.init(init(id));
        }
        assert_eq!(error(response.error_code), ErrorCode::None);
        (response.producer_id, response.producer_epoch)
    }

    fn add(&mut self, id: &str, producer: Identity, partitions: &[i32], client_level: i8) -> ErrorCode {
        let added = participation(id, producer, partitions);
        match self.ask(ADD, Request::AddPartitions { added, client_level }) {
            Response::Added(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, version: i16, id: &str, producer: Identity, committed: bool) -> EndTxnResponse {
        match self.ask(version, Request::EndTxn(end(id, producer, committed))) {
            Response::EndTxn(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn end_error(&mut self, version: i16, id: &str, producer: Identity, committed: bool) -> ErrorCode {
        error(self.end(version, id, producer, committed).error_code)
    }

    fn describe(&mut self, id: &str) -> TransactionState {
        let to = self.begin(0, Request::Describe(vec![id.to_owned()]));
        match self.answer(to) {
            Response::Described(mut states) => states.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self, id: &str) -> String {
        self.describe(id).transaction_state
    }

    fn list(&mut self, request: &ListTransactionsRequest) -> Vec<String> {
        let (filters, _) = Filters::of_request(request);
        match self.ask(2, Request::List { filters: Arc::new(filters), after: None }) {
            Response::Listed(Ok(page)) => page.listed.into_iter().map(|state| state.transactional_id).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// What the last record says.
    fn last_record(&self) -> (String, Option<super::state::Transaction>) {
        let Some((_, Entry::Record(record))) = self.log.last() else { panic!("there is a record") };
        match record::parse(record).expect("a sound record") {
            Parsed::Transaction(id, is) => (id, is),
            Parsed::Unknown => panic!("a known record"),
        }
    }

    /// Puts an id into the state of which only a long life can come.
    fn write(&mut self, id: &str, is: &super::state::Transaction) {
        let at = Origin { offset: Offset(self.log.len() as i64), producer: None };
        self.log.push((at, Entry::Record(record::transaction(id, is, self.level))));
        self.reload();
    }
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_number(code)
}

fn init(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
    }
}

fn claim(id: &str, (producer_id, producer_epoch): Identity) -> InitProducerIdRequest {
    InitProducerIdRequest { producer_id, producer_epoch, ..init(id) }
}

fn participation(id: &str, (producer_id, epoch): Identity, partitions: &[i32]) -> Participation {
    Participation {
        transactional_id: id.to_owned(),
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(epoch),
        partitions: partitions.iter().map(|index| TopicPartition::new("t", *index)).collect(),
    }
}

fn end(id: &str, (producer_id, producer_epoch): Identity, committed: bool) -> EndTxnRequest {
    EndTxnRequest { transactional_id: id.to_owned(), producer_id, producer_epoch, committed }
}

/// A producer at rest with that identity.
fn at_rest(producer_id: i64, epoch: i16) -> super::state::Transaction {
    super::state::Transaction {
        producer_epoch: ProducerEpoch(epoch),
        ..super::state::Transaction::new(ProducerId(producer_id), TIMEOUT_MS, Millis(900_000))
    }
}

/// What a description takes on the wire.
fn size_of(states: &[TransactionState]) -> usize {
    let transaction_states = states.to_vec();
    DescribeTransactionsResponse { transaction_states, ..Default::default() }.to_bytes(0).expect("fits").len()
}
