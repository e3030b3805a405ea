//! How many groups there are: asked of the shards when somebody wants to know.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use milena_coordinators::group::{Context, Filters, Request, Response};
use milena_protocol::ApiKey;

use crate::node::Node;
use crate::world::World;

/// The states of Kafka's classic groups: told also where there is none.
const STATES: [&str; 5] = ["CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Stable"];

/// By state. A shard that is loading is left out.
pub(crate) async fn count<W: World>(node: &Node<W>) -> BTreeMap<String, i64> {
    let mut groups: BTreeMap<String, i64> = STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
    let all = Arc::new(Filters::default());
    for shard in node.shards.led() {
        let context = Context {
            version: ApiKey::ListGroups.newest(),
            client_id: String::new(),
            client_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            random: node.world.random(),
        };
        let mut after = None;
        loop {
            let asked = Request::ListGroups { filters: Arc::clone(&all), after };
            let Response::ListGroups(Ok(page)) = node.shards.ask(shard, context.clone(), asked).await else { break };
            page.listed.into_iter().for_each(|group| *groups.entry(group.group_state).or_default() += 1);
            after = page.last;
            if after.is_none() {
                break;
            }
        }
    }
    groups
}
