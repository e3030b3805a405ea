//! ListGroups: which groups are wanted, page by page.
//!
//! Source: `GroupMetadataManager.listGroups`; KIP-518, KIP-848.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use milena_protocol::messages::ListGroupsRequest;
use milena_protocol::messages::list_groups_response::ListedGroup;

use super::classic::ClassicGroup;
use super::consumer::Consumers;
use super::kind::Group;
use crate::Page;
use crate::weight::text;

/// What ListGroups calls the kinds of groups.
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";
/// The protocol type of consumer groups.
const CONSUMER_PROTOCOL: &str = "consumer";

/// What a ListGroups asks for. An empty filter lets all pass, an unknown name none. Case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    states: BTreeSet<String>,
    types: BTreeSet<String>,
}

impl Filters {
    /// Reads the filters.
    pub fn of_request(request: &ListGroupsRequest) -> Filters {
        Filters {
            states: request.states_filter.iter().map(|state| state.to_lowercase().trim().to_owned()).collect(),
            types: request.types_filter.iter().map(|kind| kind.to_lowercase()).collect(),
        }
    }

    /// The group as it is listed, if it is wanted.
    fn list(&self, id: &str, group: Group<'_>) -> Option<ListedGroup> {
        let (kind, protocol, state) = match group {
            Group::Classic(group) => (CLASSIC, group.protocol_type.as_deref().unwrap_or_default(), group.state.name()),
            Group::Consumer(group) => (CONSUMER, CONSUMER_PROTOCOL, group.state().name()),
        };
        let is_wanted = (self.types.is_empty() || self.types.contains(kind))
            && (self.states.is_empty() || self.states.contains(&state.to_lowercase()));
        is_wanted.then(|| ListedGroup {
            group_id: id.to_owned(),
            protocol_type: protocol.to_owned(),
            group_state: state.to_owned(),
            group_type: kind.to_owned(),
        })
    }
}

/// The groups behind `after`, or all from the first on, as far as they fit a page.
pub(super) fn list(
    groups: &BTreeMap<String, ClassicGroup>,
    consumers: &Consumers,
    filters: &Filters,
    after: Option<&str>,
) -> Page<ListedGroup> {
    let rest = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
    let classic = groups.range::<str, _>(rest).map(|(id, group)| (id, Group::Classic(group)));
    let consumer = consumers.groups.range::<str, _>(rest).map(|(id, group)| (id, Group::Consumer(group)));
    Page::of(merged(classic, consumer), |id, group| filters.list(id, group), weigh)
}

/// What an entry takes on the wire.
fn weigh(listed: &ListedGroup) -> usize {
    text(&listed.group_id) + text(&listed.protocol_type) + text(&listed.group_state) + text(&listed.group_type) + 1
}

/// Both in the order of their names.
fn merged<'a>(
    one: impl Iterator<Item = (&'a String, Group<'a>)>,
    other: impl Iterator<Item = (&'a String, Group<'a>)>,
) -> impl Iterator<Item = (&'a String, Group<'a>)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((first, _)), Some((second, _))) if second < first => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}
