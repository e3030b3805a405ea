//! ListTransactions: which ids are wanted, page by page. The pattern of a request is not looked at here: it may cost so much that no
//! shard can do it.
//!
//! Source: `TransactionStateManager.listTransactionStates`; KIP-664, KIP-994, KIP-1152.

use std::collections::BTreeSet;

use milena_base::Millis;
use milena_protocol::ProducerId;
use milena_protocol::messages::ListTransactionsRequest;
use milena_protocol::messages::list_transactions_response::TransactionState;

use super::state::{State, Transaction};
use crate::weight::text;

/// What a ListTransactions asks for. Each filter that is not set lets everything pass.
#[derive(Debug, Clone)]
pub struct Filters {
    /// `None`: any state. Nothing is in no state.
    states: Option<BTreeSet<State>>,
    producer_ids: BTreeSet<ProducerId>,
    /// Longer than this since the transaction began; an id without one began before all time.
    duration: Option<Millis>,
}

impl Filters {
    /// Reads the filters, and the names of states that do not exist (trap 161).
    pub fn of_request(request: &ListTransactionsRequest) -> (Filters, Vec<String>) {
        let mut states = BTreeSet::new();
        let (mut unknown, mut seen) = (Vec::new(), BTreeSet::new());
        for name in &request.state_filters {
            match State::ALL.into_iter().find(|state| state.name() == name) {
                Some(state) => drop(states.insert(state)),
                None if seen.insert(name) => unknown.push(name.clone()),
                None => {}
            }
        }
        let filters = Filters {
            states: (!request.state_filters.is_empty()).then_some(states),
            producer_ids: request.producer_id_filters.iter().copied().map(ProducerId).collect(),
            duration: (request.duration_filter >= 0).then_some(Millis(request.duration_filter)),
        };
        (filters, unknown)
    }

    fn let_pass(&self, is: &Transaction, now: Millis) -> bool {
        let lasts = now.0.saturating_sub(is.started_at.0);
        is.state != State::Dead
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&is.producer_id))
            && self.states.as_ref().is_none_or(|states| states.contains(&is.state))
            && self.duration.is_none_or(|duration| lasts > duration.0)
    }

    /// The id as it is listed, if it is wanted.
    pub(super) fn list(&self, id: &str, is: &Transaction, now: Millis) -> Option<TransactionState> {
        self.let_pass(is, now).then(|| TransactionState {
            transactional_id: id.to_owned(),
            producer_id: is.producer_id.0,
            transaction_state: is.state.name().to_owned(),
        })
    }
}

/// What an entry takes on the wire.
pub fn listed_bytes(listed: &TransactionState) -> usize {
    text(&listed.transactional_id) + 8 + text(&listed.transaction_state) + 1
}
