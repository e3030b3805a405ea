//! EndTxn, DescribeTransactions and ListTransactions: answered by the shards that own the transactional ids.
//!
//! Source: `KafkaApis.handleEndTxnRequest`, `handleDescribeTransactionsRequest`, `handleListTransactionsRequest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_coordinators::Expression;
use milena_coordinators::transaction::{Context, Filters, Request, Response, listed_bytes};
use milena_protocol::ErrorCode;
use milena_protocol::messages::describe_transactions_response::TransactionState;
use milena_protocol::messages::list_transactions_response::TransactionState as Listed;
use milena_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};

use tokio::time::Instant;

use super::repeated::bounded;
use crate::dispatch::Call;
use crate::growing::{Growing, NoRoom};
use crate::node::Node;
use crate::shards::{by_shard, transactions::partitions};
use crate::work::MATCHING_TURN;
use crate::world::{World, on_pool};

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
    growing: &mut Growing<'_>,
) -> DescribeTransactionsResponse {
    let node = call.node;
    let context = Context { version: call.version() };
    let mut described: BTreeMap<String, TransactionState> = BTreeMap::new();
    let asked = bounded(&request.transactional_ids);
    for ids in by_shard(partitions(node), &asked) {
        let states = |response| expect!(response, Response::Described);
        let states = node.transactions.ask_names(ids, &context, growing, Request::Describe, states).await;
        described.extend(states.into_iter().map(|state| (state.transactional_id.clone(), state)));
    }
    let states = asked.iter().filter_map(|id| described.get(id).cloned());
    DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() }
}

/// The transactional ids that this node coordinates, as far as the filters let them pass.
pub async fn list_transactions<W: World>(
    call: &Call<'_, W>,
    request: &ListTransactionsRequest,
    growing: &mut Growing<'_>,
) -> Result<ListTransactionsResponse, NoRoom> {
    let failed = |error: ErrorCode| ListTransactionsResponse { error_code: error.number(), ..Default::default() };
    let pattern = match compiled(call.node, request.transactional_id_pattern.as_deref()).await {
        Ok(pattern) => pattern,
        Err(error) => return Ok(failed(error)),
    };
    let (filters, unknown_state_filters) = Filters::of_request(request);
    let wanted = Wanted { filters: Arc::new(filters), pattern };
    let mut transaction_states = Vec::new();
    for shard in call.node.transactions.led() {
        match list_shard(call, shard, &wanted, &mut transaction_states, growing).await? {
            // The shard moved away between the two questions.
            ErrorCode::None | ErrorCode::NotCoordinator => {}
            error => return Ok(failed(error)),
        }
    }
    Ok(ListTransactionsResponse { unknown_state_filters, transaction_states, ..Default::default() })
}

/// What a ListTransactions asks for.
struct Wanted {
    filters: Arc<Filters>,
    pattern: Option<Arc<Expression>>,
}

/// Adds the ids of one shard. What does not match costs no room but for its page.
async fn list_shard<W: World>(
    call: &Call<'_, W>,
    shard: i32,
    wanted: &Wanted,
    states: &mut Vec<Listed>,
    growing: &mut Growing<'_>,
) -> Result<ErrorCode, NoRoom> {
    let context = Context { version: call.version() };
    let mut after = None;
    loop {
        let asked = Request::List { filters: Arc::clone(&wanted.filters), after };
        let page = match expect!(call.node.transactions.ask(shard, context, asked).await, Response::Listed) {
            Ok(page) => page,
            Err(error) => return Ok(error),
        };
        let listed = match &wanted.pattern {
            Some(pattern) => matching(call.node, pattern, page.listed).await,
            None => page.listed,
        };
        if !growing.part(listed.iter().map(listed_bytes).sum()).await? {
            return Ok(ErrorCode::InvalidRequest);
        }
        states.extend(listed);
        after = page.last;
        if after.is_none() {
            return Ok(ErrorCode::None);
        }
    }
}

/// The pattern that ids are held against; an empty one lets all pass. Compiled on the pool: it may take some ms.
async fn compiled<W: World>(node: &Node<W>, pattern: Option<&str>) -> Result<Option<Arc<Expression>>, ErrorCode> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()).map(str::to_owned) else { return Ok(None) };
    let _turn = node.memory.work.pattern_turn().await;
    let compiled = on_pool(&*node.world, move || Expression::compile(&pattern)).await;
    compiled.map(|pattern| Some(Arc::new(pattern))).map_err(|_| ErrorCode::InvalidRegularExpression)
}

/// Those whose id matches. Neither a core nor a coordinator's thread waits for a costly pattern, and other patterns have
/// their turn in between.
async fn matching<W: World>(node: &Node<W>, pattern: &Arc<Expression>, states: Vec<Listed>) -> Vec<Listed> {
    let (mut matched, mut left) = (Vec::new(), states.into_iter());
    while left.len() > 0 {
        let _turn = node.memory.work.pattern_turn().await;
        let pattern = Arc::clone(pattern);
        (matched, left) = on_pool(&*node.world, move || {
            let begun = Instant::now();
            while begun.elapsed() < MATCHING_TURN
                && let Some(state) = left.next()
            {
                if pattern.matches(&state.transactional_id) {
                    matched.push(state);
                }
            }
            (matched, left)
        })
        .await;
    }
    matched
}
