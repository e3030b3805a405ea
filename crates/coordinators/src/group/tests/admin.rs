use std::sync::Arc;

use milena_protocol::messages::list_groups_response::ListedGroup;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ListGroupsRequest, ListGroupsResponse};

use super::consumers::{T, joins};
use super::*;
use crate::Page;
use crate::group::Filters;

fn list(world: &mut World, states: &[&str], types: &[&str]) -> Vec<(String, String)> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
    let page = page(world, 5, &request, None);
    page.listed.into_iter().map(|group| (group.group_id, group.group_state)).collect()
}

fn page(world: &mut World, version: i16, request: &ListGroupsRequest, after: Option<String>) -> Page<ListedGroup> {
    let asked = Request::ListGroups { filters: Arc::new(Filters::of_request(request)), after };
    match world.answer(version, asked) {
        Response::ListGroups(Ok(page)) => page,
        other => panic!("not a list: {other:?}"),
    }
}

#[test]
fn groups_of_both_kinds_are_listed_once_and_in_order_over_all_pages() {
    let mut world = World::new();
    world.create(T, "t", 0..1);
    for number in 0..1200 {
        let group_id = format!("{number:06}");
        match number % 3 {
            0 => drop(world.beat(ConsumerGroupHeartbeatRequest { group_id, ..joins("a", &["t"]) })),
            _ => drop(world.commit_request(9, OffsetCommitRequest { group_id, ..commit_request("", -1, 1) })),
        }
    }
    let (mut listed, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = page(&mut world, 5, &ListGroupsRequest::default(), after);
        let response = ListGroupsResponse { groups: page.listed.clone(), ..Default::default() };
        assert!(response.to_bytes(5).expect("fits").len() <= page.size_bytes + 16);
        listed.extend(page.listed.into_iter().map(|group| group.group_id));
        (pages, after) = (pages + 1, page.last);
        if after.is_none() {
            break;
        }
    }
    assert!(listed.into_iter().eq((0..1200).map(|number| format!("{number:06}"))));
    assert!(pages > 1, "{pages}");
}

#[test]
fn a_stable_group_is_described_with_subscriptions_and_assignments() {
    let mut world = World::new();
    let ids = world.stable(2);
    let Response::DescribeGroups(groups) = world.answer(5, Request::DescribeGroups(vec!["g".into()])) else { panic!() };
    let group = &groups[0];
    assert_eq!((group.group_state.as_str(), group.protocol_type.as_str()), ("Stable", "consumer"));
    assert_eq!((group.protocol_data.as_str(), group.members.len()), ("range", 2));
    let member = group.members.iter().find(|member| member.member_id == ids[0]).expect("is there");
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("client", "/10.0.0.1"));
    assert_eq!(&member.member_assignment[..], b"mine");
    assert_eq!(member.member_metadata, protocol("range", &["t"]).metadata);
}

#[test]
fn a_group_that_rebalances_is_described_without_subscriptions() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.join(9, &ids[0]);
    let Response::DescribeGroups(groups) = world.answer(5, Request::DescribeGroups(vec!["g".into()])) else { panic!() };
    assert_eq!((groups[0].group_state.as_str(), groups[0].protocol_data.as_str()), ("PreparingRebalance", ""));
    assert!(groups[0].members.iter().all(|member| member.member_metadata.is_empty()));
}

#[test]
fn a_group_that_does_not_exist_is_dead_and_from_version_6_on_an_error() {
    let mut world = World::new();
    let ask = || Request::DescribeGroups(vec!["g".into()]);
    let Response::DescribeGroups(groups) = world.answer(5, ask()) else { panic!() };
    assert_eq!((groups[0].group_state.as_str(), groups[0].error_code), ("Dead", 0));
    let Response::DescribeGroups(groups) = world.answer(6, ask()) else { panic!() };
    assert_eq!((groups[0].group_state.as_str(), error(groups[0].error_code)), ("Dead", ErrorCode::GroupIdNotFound));
    assert_eq!(groups[0].error_message.as_deref(), Some("Group g not found."));
}

#[test]
fn groups_are_listed_by_state_and_type_whatever_the_case() {
    let mut world = World::new();
    world.stable(1);
    world.commit_request(9, OffsetCommitRequest { group_id: "simple".into(), ..commit_request("", -1, 1) });
    let stable = vec![("g".to_owned(), "Stable".to_owned())];
    let all = vec![stable[0].clone(), ("simple".to_owned(), "Empty".to_owned())];
    assert_eq!(list(&mut world, &[], &[]), all);
    assert_eq!(list(&mut world, &[" sTABLE "], &[]), stable);
    assert_eq!(list(&mut world, &[], &["Classic"]), all);
    assert_eq!(list(&mut world, &[], &["consumer"]), []);
    assert_eq!(list(&mut world, &["nonsense"], &[]), []);
}

#[test]
fn only_empty_groups_are_deleted_with_all_their_offsets() {
    let mut world = World::new();
    world.commit(9, "", -1, 5);
    world.commit_request(9, OffsetCommitRequest { group_id: "h".into(), ..commit_request("", -1, 1) });
    let id = world.stable(1).remove(0);
    let delete = |ids: &[&str]| Request::DeleteGroups(ids.iter().map(|id| (*id).to_owned()).collect());
    let codes = |response| match response {
        Response::DeleteGroups(results) => results.iter().map(|result| error(result.error_code)).collect::<Vec<_>>(),
        other => panic!("not a deletion: {other:?}"),
    };
    let answer = world.answer(2, delete(&["g", "nobody", "h", "h"]));
    assert_eq!(codes(answer), [ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound, ErrorCode::None]);
    world.leave(5, &[(&id, None)]);
    let answer = world.answer(2, delete(&["g"]));
    assert_eq!(codes(answer), [ErrorCode::None]);
    assert_eq!((world.state("g").as_str(), world.committed()), ("Dead", -1));
    world.reload();
    assert_eq!(world.shard.counts(), Default::default());
}

#[test]
fn a_member_of_a_deleted_group_starts_anew() {
    let mut world = World::new();
    let id = world.pending();
    world.answer(2, Request::DeleteGroups(vec!["g".into()]));
    let to = world.join(9, &id);
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_129_while_a_shard_is_loaded_every_request_but_heartbeats_is_told_so() {
    let loading = ErrorCode::CoordinatorLoadInProgress;
    let Response::ListGroups(list) =
        Request::ListGroups { filters: Default::default(), after: None }.failure(5, loading)
    else {
        panic!()
    };
    assert_eq!(list, Err(loading));
    let ids = || vec!["g".to_owned(), "h".to_owned()];
    let Response::DescribeGroups(groups) = Request::DescribeGroups(ids()).failure(5, loading) else { panic!() };
    assert!(groups.len() == 2 && groups.iter().all(|group| error(group.error_code) == loading));
    let Response::DeleteGroups(groups) = Request::DeleteGroups(ids()).failure(2, loading) else { panic!() };
    assert!(groups.len() == 2 && groups.iter().all(|group| error(group.error_code) == loading));
    let Response::OffsetCommit(commit) = Request::OffsetCommit(commit_request("", -1, 1)).failure(9, loading) else {
        panic!()
    };
    assert_eq!(error(commit.topics[0].partitions[0].error_code), loading);
    let Response::Join(join) = Request::Join(join_request("m")).failure(9, loading) else { panic!() };
    assert_eq!((error(join.error_code), join.generation_id), (loading, -1));
}

#[test]
fn every_answer_can_be_written_in_every_version_of_its_api() {
    let mut world = World::new();
    let id = world.stable(1).remove(0);
    for version in 0..=9 {
        let to = world.join(version, &id);
        world.joined(to).expect("the only member forms each generation").to_bytes(version).expect("fits");
        let to = world.join(version, "stranger");
        world.joined(to).expect("refused").to_bytes(version).expect("fits");
    }
    for version in 0..=6 {
        let ids = vec!["g".into(), "nobody".into()];
        let Response::DescribeGroups(groups) = world.answer(version, Request::DescribeGroups(ids)) else { panic!() };
        let response = milena_protocol::messages::DescribeGroupsResponse { groups, ..Default::default() };
        response.to_bytes(version).expect("fits");
    }
    for version in 0..=5 {
        let groups = page(&mut world, version, &ListGroupsRequest::default(), None).listed;
        ListGroupsResponse { groups, ..Default::default() }.to_bytes(version).expect("fits");
        world.leave(version, &[("stranger", None)]).to_bytes(version).expect("fits");
        let request = SyncGroupRequest { protocol_name: Some("sticky".into()), ..sync_request(&id, 11, &[]) };
        let Response::Sync(response) = world.answer(version, Request::Sync(request)) else { panic!() };
        response.to_bytes(version).expect("fits");
    }
    for version in 2..=10 {
        let Response::OffsetCommit(response) = world.answer(version, Request::OffsetCommit(commit_request("", -1, 1)))
        else {
            panic!()
        };
        response.to_bytes(version).expect("fits");
    }
    for version in 1..=10 {
        let topics =
            vec![OffsetFetchRequestTopics { name: "t".into(), topic_id: Uuid([1; 16]), partition_indexes: vec![0] }];
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() };
        let Response::OffsetFetch(group) = world.answer(version, Request::OffsetFetch { group, require_stable: false })
        else {
            panic!()
        };
        super::super::request::offset_fetch_response(vec![group], version).to_bytes(version).expect("fits");
    }
}
