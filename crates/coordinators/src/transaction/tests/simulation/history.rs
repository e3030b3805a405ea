//! What must follow from what happened, for ever:
//!
//! * all records of a transaction have the same end, and it is the one that its producer was told;
//! * nothing is committed that its producer did not want to commit;
//! * whoever has entered is alone: requests of those before it that come later change nothing;
//! * no identity is given to two producers, and the same claim gives the same one;
//! * a verdict that was answered is answered the same when it comes again;
//! * nothing is aborted before its time, and no id is forgotten that is in use;
//! * for one id one thing at most is under way.

use std::collections::BTreeSet;

use super::producers::Current;
use super::*;
use crate::transaction::state::Transaction;

#[derive(Debug, Default)]
struct Instance {
    /// The verdict that its producer asks for.
    wanted: Option<bool>,
    /// The one that it was told.
    told: Option<bool>,
    /// The one that its first record got.
    ended: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct History {
    instances: Vec<Instance>,
    /// By id and identity: the transaction that is ended by it, and the verdict.
    verdicts: BTreeMap<(String, Identity), (u64, bool)>,
    /// Identities that were given to whoever came without one.
    given: BTreeSet<(String, Identity)>,
    /// Ids that were not used for long.
    forgotten: BTreeSet<String>,
    /// By id and claim.
    claimed: BTreeMap<(String, Identity), Identity>,
    /// By id: identities whose time is over, as somebody who entered was told.
    over: BTreeMap<String, BTreeSet<Identity>>,
    known: BTreeMap<String, BTreeSet<Identity>>,
    /// Requests of those, by what they would do, that came after that.
    stale: BTreeSet<(String, Identity)>,
    /// By id, identity and verdict: what was answered.
    answered: BTreeMap<(String, Identity, bool), Identity>,
}

impl History {
    pub(super) fn next_instance(&mut self) -> u64 {
        self.instances.push(Instance::default());
        self.instances.len() as u64 - 1
    }

    pub(super) fn committed(&self) -> u64 {
        self.instances.iter().filter(|instance| instance.ended == Some(true)).count() as u64
    }

    /// A producer begins to do something.
    pub(super) fn begins(&mut self, producer: &Producer, current: &Current) {
        let (Some(identity), Operation::End { instance, committed }) = (producer.identity, &current.operation) else {
            return;
        };
        self.instances[*instance as usize].wanted = Some(*committed);
        self.verdicts.insert((producer.transactional_id.to_owned(), identity), (*instance, *committed));
    }

    pub(super) fn asked(&mut self, request: &Request) {
        let (id, identity) = match request {
            Request::AddPartitions { added, .. } => {
                (&added.transactional_id, (added.producer_id.0, added.producer_epoch.0))
            }
            Request::EndTxn(end) => (&end.transactional_id, (end.producer_id, end.producer_epoch)),
            _ => return,
        };
        self.known.entry(id.clone()).or_default().insert(identity);
        if self.over.get(id).is_some_and(|over| over.contains(&identity)) {
            self.stale.insert((id.clone(), identity));
        }
    }

    /// The shard has decided; nobody knows of it yet.
    pub(super) fn decided(
        &mut self,
        now: Millis,
        decision: &Decision<Response, Effect>,
        is_by_itself: bool,
        shard: &TransactionShard,
    ) {
        for record in &decision.records {
            let Ok(Parsed::Transaction(id, next)) = record::parse(record) else { panic!("a sound record") };
            let was = shard.known(&id);
            match next {
                None => {
                    let was = was.expect("what is forgotten was known");
                    assert!(was.state.is_at_rest(), "{id} is in use");
                    assert!(now - was.updated_at >= Millis(EXPIRATION_MS), "{id} was used lately");
                    self.forgotten.insert(id);
                }
                Some(next) => self.changes(now, was, &next, is_by_itself),
            }
        }
        for effect in &decision.effects {
            let (Effect::ProducerId { transactional_id } | Effect::WriteMarkers { transactional_id, .. }) = effect;
            let is = shard.known(transactional_id);
            if let (Effect::WriteMarkers { marker, .. }, Some(is)) = (effect, is) {
                assert_eq!(marker.committed, is.state == State::PrepareCommit, "markers say what was decided");
            }
        }
    }

    fn changes(&self, now: Millis, was: Option<&Transaction>, next: &Transaction, is_by_itself: bool) {
        let Some(was) = was else { return };
        if was.state == State::Ongoing && next.state == State::PrepareAbort && is_by_itself {
            let over = was.deadline().expect("an open transaction");
            // A fence that waited for its producer id comes by itself, too; then the epochs are used up.
            assert!(now > over || was.is_exhausted(), "{was:?} is aborted before its time");
        }
        if was.state.is_decided() {
            let expected = if was.state == State::PrepareCommit { State::CompleteCommit } else { State::CompleteAbort };
            assert_eq!(next.state, expected, "a verdict is final");
        }
    }

    /// A producer may know of it now.
    pub(super) fn answered(&mut self, request: &Request, version: i16, response: &Response) {
        match (request, response) {
            (Request::InitProducerId(request), Response::InitProducerId(answer)) if answer.error_code == 0 => {
                self.entered(request, (answer.producer_id, answer.producer_epoch));
            }
            (Request::AddPartitions { added, .. }, Response::Added(ErrorCode::None)) => {
                let identity = (added.producer_id.0, added.producer_epoch.0);
                let is_stale = self.stale.contains(&(added.transactional_id.clone(), identity));
                assert!(!is_stale, "{identity:?} adds to a transaction of somebody else");
            }
            (Request::EndTxn(request), Response::EndTxn(answer)) => {
                self.answered_end(request, version, error(answer.error_code), answer);
            }
            _ => {}
        }
    }

    fn entered(&mut self, request: &InitProducerIdRequest, identity: Identity) {
        let id = request.transactional_id.clone().unwrap_or_default();
        if request.producer_id == -1 {
            assert!(self.given.insert((id.clone(), identity)), "{identity:?} of {id} is given twice");
            let others = IDS.iter().filter(|other| **other != id);
            for other in others {
                let known = self.given.iter().any(|(of, (producer, _))| of == other && *producer == identity.0);
                assert!(!known, "producer id {} has two transactional ids", identity.0);
            }
        } else {
            let claim = (request.producer_id, request.producer_epoch);
            // Whoever claims an id that was forgotten is somebody new.
            let begins_anew = identity.1 == 0 && self.forgotten.contains(&id);
            let before = self.claimed.entry((id.clone(), claim)).or_insert(identity);
            if begins_anew {
                *before = identity;
            }
            assert_eq!(*before, identity, "the claim {claim:?} of {id} gives one identity");
        }
        let known = self.known.entry(id.clone()).or_default().clone();
        let over = self.over.entry(id.clone()).or_default();
        over.extend(known.into_iter().filter(|other| *other != identity));
        self.known.entry(id).or_default().insert(identity);
    }

    fn answered_end(&mut self, request: &EndTxnRequest, version: i16, code: ErrorCode, answer: &EndTxnResponse) {
        let (id, identity) = (request.transactional_id.clone(), (request.producer_id, request.producer_epoch));
        let key = (id.clone(), identity, request.committed);
        let verdict = self.verdicts.get(&(id.clone(), identity)).copied();
        if code != ErrorCode::None {
            let is_contradiction = code == ErrorCode::InvalidTxnState && version == END;
            let was_answered = self.answered.contains_key(&key);
            assert!(!(is_contradiction && was_answered), "{key:?} was answered, and is refused now");
            return;
        }
        let given = (answer.producer_id, answer.producer_epoch);
        if version == END {
            let before = self.answered.entry(key).or_insert(given);
            assert_eq!(*before, given, "a verdict is answered the same again");
            assert_ne!(given, identity, "each verdict gives a new identity");
        }
        if let Some((instance, committed)) = verdict.filter(|(_, committed)| *committed == request.committed) {
            let instance = &mut self.instances[instance as usize];
            let told = *instance.told.get_or_insert(committed);
            assert_eq!(told, committed, "one verdict was told");
            assert!(instance.ended.is_none_or(|ended| ended == committed), "{instance:?} was ended otherwise");
        }
    }

    /// A record has its marker.
    pub(super) fn ended(&mut self, number: u64, committed: bool) {
        let instance = &mut self.instances[number as usize];
        let ended = *instance.ended.get_or_insert(committed);
        assert_eq!(ended, committed, "transaction {number} is in halves");
        assert!(!committed || instance.wanted == Some(true), "transaction {number} should not be committed");
        assert!(instance.told.is_none_or(|told| told == committed), "transaction {number} was told otherwise");
    }
}
