//! Producers, as a client library makes them: one thing at a time, asked again until it is answered, and over when the
//! answer says so.

use milena_base::Random;

use super::*;

/// What a producer is at.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) number: u64,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// Enters, perhaps from where it was.
    Enter {
        claim: Option<Identity>,
    },
    /// Takes a partition into its transaction.
    Add {
        partition: i32,
    },
    /// Writes to a partition: its leader asks whether it takes part.
    Write {
        instance: u64,
        partition: i32,
    },
    End {
        instance: u64,
        committed: bool,
    },
}

/// One producer.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pub(super) transactional_id: &'static str,
    /// It has an epoch for each transaction (KIP-890).
    pub(super) has_own_epochs: bool,
    pub(super) identity: Option<Identity>,
    /// From where it wants to go on when it enters again.
    claim: Option<Identity>,
    /// Its transaction, by the number that only this test knows.
    pub(super) instance: Option<u64>,
    added: Vec<i32>,
    pub(super) current: Option<Current>,
}

impl Producer {
    pub(super) fn new(transactional_id: &'static str, has_own_epochs: bool) -> Producer {
        Producer {
            transactional_id,
            has_own_epochs,
            identity: None,
            claim: None,
            instance: None,
            added: Vec::new(),
            current: None,
        }
    }

    pub(super) fn begin_anew(&mut self, forgets_all: bool) {
        let claim = self.identity.filter(|_| !forgets_all);
        *self = Producer { claim, ..Producer::new(self.transactional_id, self.has_own_epochs) };
    }

    /// Whether what it says next has the same identity as what it said before.
    pub(super) fn may_confuse(&self) -> bool {
        !self.has_own_epochs && self.added.is_empty()
    }

    pub(super) fn next(&mut self, number: u64, instance: u64, random: &mut Random) -> Current {
        let Some(_) = self.identity else {
            return Current { number, operation: Operation::Enter { claim: self.claim } };
        };
        let instance = *self.instance.get_or_insert(instance);
        let partition = random.below(3) as i32;
        let operation = match random.below(6) {
            0 | 1 if !self.added.is_empty() || self.has_own_epochs => {
                Operation::End { instance, committed: !self.added.is_empty() && random.below(3) > 0 }
            }
            2..=3 if self.added.contains(&partition) => Operation::Write { instance, partition },
            _ => Operation::Add { partition },
        };
        Current { number, operation }
    }

    /// What it asks.
    pub(super) fn request(&self, current: &Current) -> (i16, Request) {
        let id = self.transactional_id;
        let identity = self.identity.unwrap_or((-1, -1));
        match &current.operation {
            Operation::Enter { claim } => {
                let (producer_id, producer_epoch) = claim.unwrap_or((-1, -1));
                let transaction_timeout_ms = PATIENCE_MS;
                let request = InitProducerIdRequest { producer_id, producer_epoch, transaction_timeout_ms, ..init(id) };
                (INIT, Request::InitProducerId(request))
            }
            Operation::Add { partition } => {
                let added = participation(id, identity, &[*partition]);
                (ADD, Request::AddPartitions { added, client_level: if self.has_own_epochs { 2 } else { 0 } })
            }
            Operation::Write { partition, .. } => (ADD, Request::Verify(participation(id, identity, &[*partition]))),
            Operation::End { committed, .. } => {
                let version = if self.has_own_epochs { END } else { END_OLD };
                (version, Request::EndTxn(end(id, identity, *committed)))
            }
        }
    }

    /// An answer: what is done by it, if it is what the producer waits for.
    pub(super) fn hear(&mut self, number: u64, response: &Response) -> Option<Operation> {
        let current = self.current.as_ref().filter(|current| current.number == number)?;
        let operation = current.operation.clone();
        let code = match response {
            Response::InitProducerId(answer) => error(answer.error_code),
            Response::Added(error) => *error,
            Response::Verified(verified) => verified[0].1,
            Response::EndTxn(answer) => error(answer.error_code),
            other => panic!("{other:?}"),
        };
        match code {
            ErrorCode::None => {}
            ErrorCode::ConcurrentTransactions
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => return None,
            // It is over: whoever comes next begins anew.
            _ => {
                self.begin_anew(true);
                return None;
            }
        }
        self.current = None;
        match (&operation, response) {
            (Operation::Enter { .. }, Response::InitProducerId(answer)) => {
                self.identity = Some((answer.producer_id, answer.producer_epoch));
            }
            (Operation::Add { partition }, _) => self.added.push(*partition),
            (Operation::End { .. }, Response::EndTxn(answer)) => {
                if self.has_own_epochs {
                    self.identity = Some((answer.producer_id, answer.producer_epoch));
                }
                self.added.clear();
                self.instance = None;
            }
            _ => {}
        }
        Some(operation)
    }
}
