//! EndTxn, DescribeTransactions and ListTransactions: answered by the shards that own the transactional ids.
//!
//! Source: `KafkaApis.handleEndTxnRequest`, `handleDescribeTransactionsRequest`, `handleListTransactionsRequest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_coordinators::transaction::{Context, Filters, Request, Response};
use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_transactions_response::TransactionState;
use milena_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};

use super::repeated::bounded;
use crate::dispatch::Call;
use crate::shards::{by_shard, transactions::partitions};
use crate::world::World;

/// Commits or aborts the transaction of a producer.
pub async fn end_txn<W: World>(call: &Call<'_, W>, request: EndTxnRequest) -> EndTxnResponse {
    let transactional_id = request.transactional_id.clone();
    let asked = Request::EndTxn(request);
    expect!(call.node.transactions.ask_id(call.node, &transactional_id, call.version(), asked).await, Response::EndTxn)
}

/// The state of transactions by their transactional ids, in the order asked.
pub async fn describe_transactions<W: World>(
    call: &Call<'_, W>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let node = call.node;
    let context = Context { version: call.version() };
    let mut described: BTreeMap<String, TransactionState> = BTreeMap::new();
    let asked = bounded(&request.transactional_ids);
    for (shard, ids) in by_shard(partitions(node), &asked) {
        let answer = node.transactions.ask(shard, context, Request::Describe(ids)).await;
        let states = expect!(answer, Response::Described);
        described.extend(states.into_iter().map(|state| (state.transactional_id.clone(), state)));
    }
    let states = asked.iter().filter_map(|id| described.get(id).cloned());
    DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() }
}

/// The transactional ids that this node coordinates, as far as the filters let them pass.
pub async fn list_transactions<W: World>(
    call: &Call<'_, W>,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let failed = |error: ErrorCode| ListTransactionsResponse { error_code: error.number(), ..Default::default() };
    let (filters, unknown_state_filters) = match Filters::of_request(&request) {
        Ok(filters) => filters,
        Err(error) => return failed(error),
    };
    let filters = Arc::new(filters);
    let mut listed = ListTransactionsResponse { unknown_state_filters, ..Default::default() };
    for shard in call.node.transactions.led() {
        let context = Context { version: call.version() };
        let answer = call.node.transactions.ask(shard, context, Request::List(Arc::clone(&filters))).await;
        let part = expect!(answer, Response::Listed);
        match ErrorCode::from_number(part.error_code) {
            // The shard moved away between the two questions.
            ErrorCode::NotCoordinator => {}
            ErrorCode::None => listed.transaction_states.extend(part.transaction_states),
            error => return failed(error),
        }
    }
    listed
}
