//! The machine that owns one partition of `__transaction_state`.

#[cfg(test)]
mod check;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use milena_base::Millis;
use milena_protocol::messages::list_transactions_response::TransactionState as Listed;
use milena_protocol::messages::{EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse};
use milena_protocol::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};

use super::event::{Counts, Effect, Event};
use super::marking::Marking;
#[cfg(test)]
use super::planted::Bug;
use super::record::{self, Parsed};
use super::request::{end_failed, for_partitions, init_failed};
use super::state::{Change, EPOCH_PER_TRANSACTION, State, Step, Transaction};
use super::timeout::Deadlines;
use super::{Context, Filters, Participation, Request, Response, Settings};
use super::{add_partitions, describe, end, init_producer_id, list};
use crate::timers::Timers;
use crate::{Decision, Entry, Origin, Page, ReplayError, Reply, ReplyTo, Shard};

/// What is to be done at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Abort what was open for too long.
    Abort,
    /// Forget ids.
    Expire,
    /// Bring a decided transaction further.
    Settle(String),
}

/// A transactional id, and what is remembered of it beside the log.
#[derive(Debug)]
struct Known {
    is: Transaction,
    /// Its last record.
    written: Offset,
    /// A producer's identity, and the epoch before it: see [`Change::last_epoch`]. Counts while it is the present one.
    last_epoch: (ProducerId, ProducerEpoch, ProducerEpoch),
    /// Of a decided transaction, once its markers are looked after.
    marking: Option<Marking>,
}

impl Known {
    /// The partitions of its transaction that have no marker yet.
    fn left(&self) -> &BTreeSet<TopicPartition> {
        self.marking.as_ref().map_or(&self.is.partitions, |marking| &marking.left)
    }

    fn last_epoch(&self) -> ProducerEpoch {
        match self.last_epoch {
            (id, epoch, last) if (id, epoch) == (self.is.producer_id, self.is.producer_epoch) => last,
            _ => ProducerEpoch::NONE,
        }
    }
}

/// Who waits for a producer id. Until it is there, the transactional id takes no other change.
#[derive(Debug)]
enum Waiting {
    Init {
        to: ReplyTo,
        version: i16,
        request: InitProducerIdRequest,
    },
    End {
        to: ReplyTo,
        version: i16,
        request: EndTxnRequest,
    },
    /// A transaction that was open for too long.
    Abort,
}

/// Transactional ids of one partition. See the [crate] for the contract.
///
/// Bounds: [`Settings::ids_max`] transactional ids, and one parked request for each.
#[derive(Debug)]
pub struct TransactionShard {
    settings: Settings,
    /// Markers carry it: whoever comes later fences this shard (trap 157).
    coordinator_epoch: LeaderEpoch,
    /// Finalized level of `transaction.version`.
    level: i8,
    transactions: BTreeMap<String, Known>,
    deadlines: Deadlines,
    timers: Timers<Timer>,
    waiting: BTreeMap<String, Waiting>,
    /// Transactions whose markers are being written.
    under_way: usize,
    is_live: bool,
    /// The transactional id that expiry goes on with.
    expire_from: String,
    written: Option<Offset>,
    /// The last record that may concern an id of which nothing is known.
    written_for_all: Option<Offset>,
    skipped_records: u64,
}

impl TransactionShard {
    /// An empty shard, to be loaded: [`Shard::replay`] for the whole log, then [`Shard::loaded`]. `epoch` is the leader
    /// epoch of the partition, `level` the finalized one of `transaction.version`.
    pub fn new(settings: Settings, epoch: LeaderEpoch, level: i8) -> TransactionShard {
        TransactionShard {
            settings,
            coordinator_epoch: epoch,
            level,
            transactions: BTreeMap::new(),
            deadlines: Deadlines::default(),
            timers: Timers::new(),
            waiting: BTreeMap::new(),
            under_way: 0,
            is_live: false,
            expire_from: String::new(),
            written: None,
            written_for_all: None,
            skipped_records: 0,
        }
    }
}

impl Shard for TransactionShard {
    type Context = Context;
    type Request = Request;
    type Response = Response;
    type Event = Event;
    type Effect = Effect;
    type Counts = Counts;

    fn asked(to: ReplyTo, context: Context, request: Request) -> Event {
        Event::Request { to, context, request }
    }

    fn version(context: &Context) -> i16 {
        context.version
    }

    fn failure(request: &Request, version: i16, error: ErrorCode) -> Response {
        request.failure(version, error)
    }

    fn failed(response: Response, version: i16, error: ErrorCode) -> Response {
        response.failed(version, error)
    }

    fn weigh(&self, request: &Request) -> usize {
        let Request::Describe(ids) = request else { return 0 };
        ids.iter().map(|id| describe::weigh(id, self.transactions.get(id).map(Known::left))).sum()
    }

    fn replay(&mut self, at: Origin, entry: &Entry) -> Result<(), ReplayError> {
        self.written = self.written.max(Some(at.offset));
        // Nobody writes transactions into the log of transactions.
        let Entry::Record(record) = entry else { return Ok(()) };
        let parsed = record::parse(record)
            .map_err(|damage| ReplayError::Damaged { offset: at.offset.0, reason: damage.to_string() })?;
        match parsed {
            Parsed::Unknown => self.skipped_records += 1,
            Parsed::Transaction(id, None) => {
                self.written_for_all = Some(at.offset);
                let was = self.transactions.remove(&id);
                self.deadlines.change(&id, was.as_ref().map(|known| &known.is), None);
            }
            Parsed::Transaction(id, Some(is)) => {
                let was = self.transactions.get(&id);
                self.deadlines.change(&id, was.map(|known| &known.is), Some(&is));
                let last_epoch =
                    was.map_or((ProducerId::NONE, ProducerEpoch::NONE, ProducerEpoch::NONE), |known| known.last_epoch);
                self.transactions.insert(id, Known { is, written: at.offset, last_epoch, marking: None });
            }
        }
        Ok(())
    }

    /// Every decided transaction gets its markers, whether or not it had some.
    fn loaded(&mut self, now: Millis) -> Decision<Response, Effect> {
        self.is_live = true;
        self.timers.set(Timer::Abort, now + self.settings.abort_interval);
        self.timers.set(Timer::Expire, now + self.settings.expiry_interval);
        #[cfg(test)]
        if self.settings.has(Bug::MarkersLostOnReload) {
            return Decision::at(now);
        }
        for (id, _) in self.transactions.iter().filter(|(_, known)| known.is.state.is_decided()) {
            self.timers.set(Timer::Settle(id.clone()), now);
        }
        Decision::at(now)
    }

    fn handle(&mut self, now: Millis, event: Event) -> Decision<Response, Effect> {
        let mut decision = Decision::at(now);
        match event {
            Event::Request { to, context, request } => self.answer(&mut decision, to, context.version, request),
            Event::ProducerId { transactional_id, id } => self.go_on(&mut decision, &transactional_id, id),
            Event::Marked { transactional_id, results } => self.marked(&mut decision, &transactional_id, results),
            Event::Level(level) => self.level = level,
        }
        decision
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    fn tick(&mut self, now: Millis) -> Decision<Response, Effect> {
        let mut decision = Decision::at(now);
        match self.timers.due(now) {
            Some(Timer::Abort) => self.abort_one(&mut decision),
            Some(Timer::Expire) => self.expire(&mut decision),
            Some(Timer::Settle(id)) => self.settle(&mut decision, &id),
            None => {}
        }
        decision
    }

    fn unloaded(self) -> Vec<Reply<Response>> {
        let dismissed = self.waiting.into_values().filter_map(|waiting| match waiting {
            Waiting::Init { to, version, .. } => Some((to, init_failed(version, ErrorCode::NotCoordinator))),
            Waiting::End { to, version, .. } => Some((to, end_failed(version, ErrorCode::NotCoordinator))),
            Waiting::Abort => None,
        });
        dismissed.map(|(to, response)| Reply { to, response, written: None }).collect()
    }

    fn counts(&self) -> Counts {
        let count = |is: fn(State) -> bool| self.transactions.values().filter(|known| is(known.is.state)).count();
        Counts {
            ids: self.transactions.len(),
            ongoing: count(|state| state == State::Ongoing),
            decided: count(State::is_decided),
            skipped_records: self.skipped_records,
        }
    }
}

impl TransactionShard {
    fn written_of(&self, id: &str) -> Option<Offset> {
        #[cfg(test)]
        if self.settings.has(Bug::AnswerBeforeCommit) {
            return None;
        }
        self.transactions.get(id).map(|known| known.written).max(self.written_for_all)
    }

    fn find(&self, id: &str) -> Option<&Transaction> {
        self.transactions.get(id).map(|known| &known.is)
    }

    fn last_epoch(&self, id: &str) -> ProducerEpoch {
        self.transactions.get(id).map_or(ProducerEpoch::NONE, Known::last_epoch)
    }

    fn reply(&self, decision: &mut Decision<Response, Effect>, to: ReplyTo, id: &str, response: Response) {
        decision.replies.push(Reply { to, response, written: self.written_of(id) });
    }

    fn answer(&mut self, decision: &mut Decision<Response, Effect>, to: ReplyTo, version: i16, request: Request) {
        let (response, written) = match request {
            Request::InitProducerId(request) => return self.init(decision, to, version, request, None),
            Request::EndTxn(request) => return self.end(decision, to, version, request, None),
            Request::AddPartitions { added, client_level } => {
                return self.add(decision, to, version, &added, client_level);
            }
            Request::Verify(claimed) => {
                let id = &claimed.transactional_id;
                (Response::Verified(add_partitions::verify(self.find(id), &claimed)), self.written_of(id))
            }
            Request::Describe(ids) => {
                (Response::Described(ids.iter().map(|id| self.describe(id)).collect()), self.written)
            }
            Request::List { filters, after } => {
                (Response::Listed(Ok(self.list(decision.timestamp, &filters, after.as_deref()))), self.written)
            }
        };
        decision.replies.push(Reply { to, response, written });
    }

    fn init(
        &mut self,
        decision: &mut Decision<Response, Effect>,
        to: ReplyTo,
        version: i16,
        request: InitProducerIdRequest,
        fresh: Option<ProducerId>,
    ) {
        let id = request.transactional_id.clone().unwrap_or_default();
        let step = if self.waiting.contains_key(&id) {
            Err(ErrorCode::ConcurrentTransactions)
        } else {
            let last_epoch = self.last_epoch(&id);
            let now = decision.timestamp;
            init_producer_id::init(self.find(&id), last_epoch, &request, fresh, self.level, now)
        };
        #[cfg(test)]
        let step = self.planted_init(&request, fresh, decision.timestamp, step);
        let response = match step.and_then(|step| self.has_room(&id, step)) {
            Err(error) => init_failed(version, error),
            Ok(Step::NeedsProducerId) => {
                return self.wait_for_producer_id(decision, id, Waiting::Init { to, version, request });
            }
            Ok(Step::Stay) => unreachable!("InitProducerId always writes"),
            Ok(Step::Write(change)) => {
                let (state, producer_id, producer_epoch) =
                    (change.next.state, change.next.producer_id.0, change.next.producer_epoch.0);
                self.write(decision, &id, *change);
                match state {
                    // Trap 146: what was open is aborted first; the epoch that does so is nobody's.
                    State::PrepareAbort => init_failed(version, ErrorCode::ConcurrentTransactions),
                    _ => Response::InitProducerId(InitProducerIdResponse {
                        producer_id,
                        producer_epoch,
                        ..Default::default()
                    }),
                }
            }
        };
        self.reply(decision, to, &id, response);
    }

    fn has_room(&self, id: &str, step: Step) -> Result<Step, ErrorCode> {
        let is_full = self.transactions.len() + self.waiting.len() >= self.settings.ids_max;
        let is_new = step == Step::NeedsProducerId && !self.transactions.contains_key(id);
        if is_new && is_full { Err(ErrorCode::CoordinatorLoadInProgress) } else { Ok(step) }
    }

    fn add(
        &mut self,
        decision: &mut Decision<Response, Effect>,
        to: ReplyTo,
        version: i16,
        asked: &Participation,
        client_level: i8,
    ) {
        let id = &asked.transactional_id;
        let is_waiting = self.waiting.contains_key(id);
        let added = add_partitions::add(self.find(id), asked, client_level, is_waiting, decision.timestamp);
        #[cfg(test)]
        let added = self.planted_add(asked, client_level, decision.timestamp, added);
        let error = match added {
            Err(error) => error,
            Ok(None) => ErrorCode::None,
            Ok(Some(next)) if !self.can_say(&next) => ErrorCode::UnsupportedVersion,
            Ok(Some(next)) => {
                let last_epoch = self.last_epoch(id);
                self.write(decision, id, Change { next, last_epoch });
                ErrorCode::None
            }
        };
        self.reply(decision, to, id, Response::Added(for_partitions(version, error)));
    }

    /// Records of a cluster without transaction versions cannot say that the producer works by one.
    fn can_say(&self, next: &Transaction) -> bool {
        next.client_level == 0 || self.level > 0
    }

    fn end(
        &mut self,
        decision: &mut Decision<Response, Effect>,
        to: ReplyTo,
        version: i16,
        request: EndTxnRequest,
        fresh: Option<ProducerId>,
    ) {
        #[cfg(test)]
        let request = self.planted_end_request(request);
        let id = request.transactional_id.clone();
        let (is, is_waiting, now) = (self.find(&id), self.waiting.contains_key(&id), decision.timestamp);
        let has_own_epochs = end::client_level(version) >= EPOCH_PER_TRANSACTION;
        let step = match has_own_epochs {
            true => end::end_with_next_epoch(is, &request, is_waiting, fresh, now),
            false => end::end_with_one_epoch(is, self.last_epoch(&id), &request, is_waiting, now),
        };
        #[cfg(test)]
        let step = self.planted_end(&request, now, step);
        let identity = match step {
            Err(error) => Err(error),
            Ok(Step::NeedsProducerId) => {
                return self.wait_for_producer_id(decision, id, Waiting::End { to, version, request });
            }
            Ok(Step::Stay) => Ok(is.map(|is| (is.producer_id, is.producer_epoch))),
            Ok(Step::Write(change)) if !self.can_say(&change.next) => Err(ErrorCode::UnsupportedVersion),
            Ok(Step::Write(change)) => {
                let identity = end::successor(&change.next);
                self.write(decision, &id, *change);
                Ok(Some(identity))
            }
        };
        let response = match identity {
            Err(error) => end_failed(version, error),
            // Trap 152: the identity that the next transaction begins with.
            Ok(Some((producer_id, producer_epoch))) if has_own_epochs => Response::EndTxn(EndTxnResponse {
                producer_id: producer_id.0,
                producer_epoch: producer_epoch.0,
                ..Default::default()
            }),
            Ok(_) => end_failed(version, ErrorCode::None),
        };
        self.reply(decision, to, &id, response);
    }

    fn describe(&self, id: &str) -> milena_protocol::messages::describe_transactions_response::TransactionState {
        describe::describe(id, self.transactions.get(id).map(|known| (&known.is, known.left())))
    }

    /// The ids behind `after`, or all from the first on, as far as they fit a page.
    fn list(&self, now: Millis, filters: &Filters, after: Option<&str>) -> Page<Listed> {
        let rest = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let rest = self.transactions.range::<str, _>(rest);
        Page::of(rest, |id, known| filters.list(id, &known.is, now), list::listed_bytes)
    }

    /// Adds a change to the decision.
    fn write(&mut self, decision: &mut Decision<Response, Effect>, id: &str, change: Change) {
        let Change { next, last_epoch } = change;
        decision.records.push(record::transaction(id, &next, self.level));
        if next.state.is_decided() {
            // Due at once. Should the record not come through, there will be nothing to settle.
            self.timers.set(Timer::Settle(id.to_owned()), decision.timestamp);
        }
        if let Some(known) = self.transactions.get_mut(id) {
            known.last_epoch = (next.producer_id, next.producer_epoch, last_epoch);
        }
    }

    fn wait_for_producer_id(&mut self, decision: &mut Decision<Response, Effect>, id: String, waiting: Waiting) {
        decision.effects.push(Effect::ProducerId { transactional_id: id.clone() });
        self.waiting.insert(id, waiting);
    }

    /// A producer id has come, or none.
    fn go_on(&mut self, decision: &mut Decision<Response, Effect>, id: &str, fresh: Result<ProducerId, ErrorCode>) {
        match (self.waiting.remove(id), fresh) {
            (Some(Waiting::Init { to, version, request }), Ok(fresh)) => {
                self.init(decision, to, version, request, Some(fresh));
            }
            (Some(Waiting::Init { to, version, .. }), Err(error)) => {
                self.reply(decision, to, id, init_failed(version, error));
            }
            (Some(Waiting::End { to, version, request }), Ok(fresh)) => {
                self.end(decision, to, version, request, Some(fresh));
            }
            (Some(Waiting::End { to, version, .. }), Err(error)) => {
                self.reply(decision, to, id, end_failed(version, error));
            }
            (Some(Waiting::Abort), Ok(fresh)) => self.abort(decision, id.to_owned(), Some(fresh)),
            // The next round tries again.
            (Some(Waiting::Abort), Err(_)) | (None, _) => {}
        }
    }

    #[cfg(test)]
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[cfg(test)]
    pub(super) fn known(&self, id: &str) -> Option<&Transaction> {
        self.find(id)
    }
}
