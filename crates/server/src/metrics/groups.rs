//! How many groups there are: asked of the shards when somebody wants to know.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use milena_coordinators::group::{Context, Request, Response};
use milena_protocol::ApiKey;
use milena_protocol::messages::ListGroupsRequest;

use crate::node::Node;
use crate::world::World;

/// The states of Kafka's classic groups: told also where there is none.
const STATES: [&str; 5] = ["CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Stable"];

/// By state. A shard that is loading is left out.
pub(crate) async fn count<W: World>(node: &Node<W>) -> BTreeMap<String, i64> {
    let mut groups: BTreeMap<String, i64> = STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
    for shard in node.shards.led() {
        let context = Context {
            version: ApiKey::ListGroups.newest(),
            client_id: String::new(),
            client_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            random: node.world.random(),
        };
        let asked = node.shards.ask(shard, context, Request::ListGroups(ListGroupsRequest::default())).await;
        if let Response::ListGroups(listed) = asked {
            listed.groups.into_iter().for_each(|group| *groups.entry(group.group_state).or_default() += 1);
        }
    }
    groups
}
