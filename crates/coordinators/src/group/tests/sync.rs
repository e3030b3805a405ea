use super::*;

fn completing(world: &mut World) -> (String, String) {
    let (one, to) = world.enter();
    let (two, other) = world.enter();
    world.wait(6_000);
    let leader = world.joined(to).expect("joined").leader;
    world.joined(other);
    let follower = if leader == one { two } else { one };
    (leader, follower)
}

#[test]
fn trap_114_everybody_gets_their_part_with_the_record_of_the_leaders_assignment() {
    let mut world = World::new();
    let (leader, follower) = completing(&mut world);
    let waiting = world.sync(&follower, 1, &[]);
    assert_eq!(world.synced(waiting), None);
    let request = sync_request(&leader, 1, &[(&leader, "l"), (&follower, "f")]);
    let (to, records) = world.decide(5, Request::Sync(request));
    assert_eq!(records.len(), 1, "the answers leave with this record");
    let response = world.synced(to).expect("answered");
    assert_eq!((&response.assignment[..], response.protocol_name.as_deref()), (&b"l"[..], Some("range")));
    assert_eq!(response.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(&world.synced(waiting).expect("answered").assignment[..], b"f");
    assert_eq!(world.state("g"), "Stable");
}

#[test]
fn trap_114_members_that_the_leader_forgot_get_nothing() {
    let mut world = World::new();
    let (leader, follower) = completing(&mut world);
    let waiting = world.sync(&follower, 1, &[]);
    world.sync(&leader, 1, &[(&leader, "l")]);
    let response = world.synced(waiting).expect("answered");
    assert_eq!((response.error_code, response.assignment.len()), (0, 0));
}

#[test]
fn trap_114_a_late_sync_in_a_stable_group_finds_its_part_also_after_a_crash() {
    let mut world = World::new();
    let (leader, follower) = completing(&mut world);
    world.sync(&leader, 1, &[(&leader, "l"), (&follower, "f")]);
    let late = world.sync(&follower, 1, &[]);
    assert_eq!(&world.synced(late).expect("answered").assignment[..], b"f");
    world.reload();
    let later = world.sync(&follower, 1, &[]);
    assert_eq!(&world.synced(later).expect("answered").assignment[..], b"f");
}

#[test]
fn trap_114_a_rebalance_sends_those_away_who_wait_for_the_assignment() {
    let mut world = World::new();
    let (leader, follower) = completing(&mut world);
    let waiting = world.sync(&follower, 1, &[]);
    let changed = JoinGroupRequest { protocols: vec![protocol("range", &["u"])], ..join_request(&leader) };
    world.ask(9, Request::Join(changed));
    let response = world.synced(waiting).expect("sent away");
    assert_eq!((error(response.error_code), response.protocol_name), (ErrorCode::RebalanceInProgress, None));
    let late = world.sync(&leader, 1, &[]);
    assert_eq!(error(world.synced(late).expect("refused").error_code), ErrorCode::RebalanceInProgress);
}

#[test]
fn syncs_of_strangers_other_generations_and_other_protocols_are_refused() {
    let mut world = World::new();
    let (leader, _) = completing(&mut world);
    let mut refused = |request: SyncGroupRequest| {
        let to = world.ask(5, Request::Sync(request));
        error(world.synced(to).expect("refused").error_code)
    };
    assert_eq!(refused(sync_request("stranger", 1, &[])), ErrorCode::UnknownMemberId);
    assert_eq!(refused(sync_request(&leader, 2, &[])), ErrorCode::IllegalGeneration);
    let other = SyncGroupRequest { protocol_name: Some("sticky".into()), ..sync_request(&leader, 1, &[]) };
    assert_eq!(refused(other), ErrorCode::InconsistentGroupProtocol);
    let other = SyncGroupRequest { protocol_name: None, ..sync_request(&leader, 1, &[]) };
    assert_eq!(refused(other), ErrorCode::InconsistentGroupProtocol);
    let nowhere = SyncGroupRequest { group_id: "h".into(), ..sync_request(&leader, 1, &[]) };
    assert_eq!(refused(nowhere), ErrorCode::UnknownMemberId);
    let nameless = SyncGroupRequest { group_id: String::new(), ..sync_request(&leader, 1, &[]) };
    assert_eq!(refused(nameless), ErrorCode::InvalidGroupId);
}

#[test]
fn a_sync_that_is_repeated_while_it_waits_is_answered_twice() {
    let mut world = World::new();
    let (leader, follower) = completing(&mut world);
    let first = world.sync(&follower, 1, &[]);
    let second = world.sync(&follower, 1, &[]);
    assert_eq!(error(world.synced(first).expect("superseded").error_code), ErrorCode::RebalanceInProgress);
    world.sync(&leader, 1, &[(&follower, "f")]);
    assert_eq!(&world.synced(second).expect("answered").assignment[..], b"f");
}

#[test]
fn a_heartbeat_is_answered_with_success_while_the_group_is_loaded() {
    let request = Request::Heartbeat(HeartbeatRequest { group_id: "g".into(), ..Default::default() });
    let code = |response| match response {
        Response::Heartbeat(response) => error(response.error_code),
        other => panic!("not a heartbeat: {other:?}"),
    };
    assert_eq!(code(request.failure(4, ErrorCode::CoordinatorLoadInProgress)), ErrorCode::None);
    assert_eq!(code(request.failure(4, ErrorCode::NotCoordinator)), ErrorCode::NotCoordinator);
}

#[test]
fn a_generation_that_was_not_assigned_is_lost_with_the_shard() {
    let mut world = World::new();
    let ids = world.stable(1);
    let (newcomer, waits) = world.enter();
    let again = world.join(9, &ids[0]);
    let told = world.joined(again).expect("both have joined");
    assert_eq!((told.generation_id, world.joined(waits).map(|joined| joined.generation_id)), (2, Some(2)));
    let synced = world.sync(&newcomer, 2, &[]);
    assert_eq!(world.synced(synced), None, "the assignment is awaited");
    world.reload();
    // The photograph of the last finished generation.
    assert_eq!(world.state("g"), "Stable");
    assert_eq!(world.heartbeat(&newcomer, 2), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&ids[0], 2), ErrorCode::IllegalGeneration);
    assert_eq!(world.heartbeat(&ids[0], 1), ErrorCode::None);
    let synced = world.sync(&ids[0], 1, &[]);
    assert_eq!(world.synced(synced).map(|synced| synced.assignment), Some("mine".into()));
}
