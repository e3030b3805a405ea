use super::*;

#[test]
fn trap_107_the_first_rebalance_of_a_group_waits_three_seconds_per_new_member() {
    let mut world = World::new();
    let (_, first) = world.enter();
    world.wait(2_999);
    assert_eq!(world.joined(first), None);
    let (_, second) = world.enter();
    world.wait(1);
    assert_eq!(world.joined(first), None, "somebody joined meanwhile: another delay");
    world.wait(2_999);
    assert_eq!(world.joined(first), None);
    world.wait(1);
    assert_eq!(world.joined(first).expect("joined").generation_id, 1);
    assert_eq!(world.joined(second).expect("joined").generation_id, 1);
}

#[test]
fn trap_107_the_delays_together_do_not_exceed_the_rebalance_timeout() {
    let mut world = World::new();
    let short = || JoinGroupRequest { rebalance_timeout_ms: 5_000, ..join_request("") };
    let first = world.ask(3, Request::Join(short()));
    world.wait(2_900);
    world.ask(3, Request::Join(short()));
    world.wait(2_000);
    world.ask(3, Request::Join(short()));
    world.wait(99);
    assert_eq!(world.joined(first), None);
    world.wait(1);
    assert_eq!(world.joined(first).expect("joined after five seconds").generation_id, 1);
}

#[test]
fn trap_109_dynamic_members_that_do_not_rejoin_are_removed_and_static_ones_stay() {
    let mut world = World::new();
    let (lazy, lazy_join) = world.enter();
    let fixed = world.ask(9, Request::Join(static_join("", "i")));
    let (eager, eager_join) = world.enter();
    world.wait(6_000);
    let fixed = world.joined(fixed).expect("joined").member_id;
    let leader = world.joined(lazy_join).expect("joined").leader;
    world.joined(eager_join);
    for id in [&lazy, &fixed, &eager] {
        world.sync(id, 1, &[]);
    }
    assert_eq!(world.state("g"), "Stable", "{leader} assigned");
    world.answers.clear();
    // Another subscription: a rebalance in which only one member takes part.
    let changed = JoinGroupRequest { protocols: vec![protocol("range", &["u"])], ..join_request(&eager) };
    let to = world.ask(9, Request::Join(changed));
    for _ in 0..11 {
        world.wait(5_500);
        world.heartbeat(&lazy, 1);
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: 1,
            member_id: fixed.clone(),
            group_instance_id: Some("i".into()),
        };
        world.ask(4, Request::Heartbeat(beat));
    }
    let response = world.joined(to).expect("the timeout is over");
    assert_eq!((response.generation_id, &response.leader), (2, &eager), "whoever joined leads");
    let ids: Vec<&String> = response.members.iter().map(|member| &member.member_id).collect();
    assert!(ids.contains(&&fixed) && !ids.contains(&&lazy), "{ids:?}");
    assert_eq!(world.heartbeat(&lazy, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_113_the_longest_rebalance_timeout_counts_and_version_0_has_the_session_timeout() {
    let mut world = World::new();
    let short = JoinGroupRequest { rebalance_timeout_ms: 20_000, ..join_request("") };
    let old = JoinGroupRequest { session_timeout_ms: 30_000, rebalance_timeout_ms: -1, ..join_request("") };
    let leader = world.ask(3, Request::Join(short));
    let follower = world.ask(0, Request::Join(old));
    world.wait(6_000);
    let leader = world.joined(leader).expect("joined").member_id;
    let follower = world.joined(follower).expect("joined").member_id;
    world.sync(&leader, 1, &[]);
    world.sync(&follower, 1, &[]);
    let again = JoinGroupRequest { protocols: vec![protocol("range", &["u"])], ..join_request(&leader) };
    let again = JoinGroupRequest { rebalance_timeout_ms: 20_000, ..again };
    let to = world.ask(3, Request::Join(again));
    world.wait(15_000);
    world.heartbeat(&follower, 1);
    world.wait(14_999);
    assert_eq!(world.joined(to), None, "thirty seconds, not twenty");
    world.wait(1);
    assert_eq!(world.joined(to).expect("joined").generation_id, 2);
}

#[test]
fn trap_115_members_that_never_sync_are_removed() {
    let mut world = World::new();
    let (one, one_join) = world.enter();
    let (two, two_join) = world.enter();
    world.wait(6_000);
    let leader = world.joined(one_join).expect("joined").leader;
    world.joined(two_join);
    let mute = if leader == one { &two } else { &one };
    world.sync(&leader, 1, &[]);
    assert_eq!(world.state("g"), "Stable");
    for _ in 0..10 {
        world.heartbeat(&leader, 1);
        world.heartbeat(mute, 1);
        world.wait(6_000);
    }
    assert_eq!(world.heartbeat(mute, 1), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&leader, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn trap_115_a_leader_that_never_syncs_is_removed_and_its_followers_join_again() {
    let mut world = World::new();
    let (one, one_join) = world.enter();
    let (two, two_join) = world.enter();
    world.wait(6_000);
    let leader = world.joined(one_join).expect("joined").leader;
    world.joined(two_join);
    let follower = if leader == one { &two } else { &one };
    let waiting = world.sync(follower, 1, &[]);
    for _ in 0..10 {
        assert_eq!(world.heartbeat(&leader, 1), ErrorCode::None);
        world.wait(6_000);
    }
    assert_eq!(error(world.synced(waiting).expect("sent away").error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&leader, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_116_heartbeats_keep_a_session_alive_while_rebalancing_too() {
    let mut world = World::new();
    let ids = world.stable(2);
    for _ in 0..5 {
        world.wait(i64::from(SESSION_MS) - 1);
        assert_eq!(world.heartbeat(&ids[0], 1), ErrorCode::None);
        assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::None);
    }
    let rejoined = world.join(9, &ids[0]);
    for _ in 0..3 {
        world.wait(i64::from(SESSION_MS) - 1);
        assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    world.join(9, &ids[1]);
    assert_eq!(world.joined(rejoined).expect("joined").generation_id, 2);
    assert_eq!(world.state("g"), "CompletingRebalance");
    assert_eq!(world.heartbeat(&ids[1], 2), ErrorCode::None);
    assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::IllegalGeneration);
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.wait(5_000);
    world.heartbeat(&ids[0], 1);
    world.wait(5_000);
    assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn whoever_waits_in_a_join_needs_no_heartbeat() {
    let mut world = World::new();
    let ids = world.stable(2);
    let to = world.join(9, &ids[0]);
    for _ in 0..6 {
        world.wait(9_000);
        assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
        assert_eq!(world.joined(to), None);
    }
    world.wait(6_000);
    assert_eq!(world.joined(to).expect("joined").generation_id, 2);
}

#[test]
fn a_group_whose_last_member_expires_is_written_as_empty() {
    let mut world = World::new();
    let id = world.stable(1).remove(0);
    world.wait(i64::from(SESSION_MS));
    assert_eq!(world.state("g"), "Empty");
    world.reload();
    assert_eq!(world.state("g"), "Empty");
    assert_eq!(world.heartbeat(&id, 2), ErrorCode::UnknownMemberId);
    let (_, to) = world.enter();
    world.wait(3_000);
    assert_eq!(world.joined(to).expect("joined").generation_id, 3, "generations go on");
}

#[test]
fn unloading_sends_everybody_away_who_waits() {
    let mut world = World::new();
    let (id, join) = world.enter();
    let mut replies = std::mem::replace(&mut world.shard, GroupShard::new(Settings::default())).unloaded();
    let reply = replies.pop().expect("one waits");
    let Response::Join(response) = reply.response else { panic!("not a join") };
    assert_eq!((reply.to, error(response.error_code), response.member_id), (join, ErrorCode::NotCoordinator, id));
    assert!(replies.is_empty() && reply.written.is_none());

    let mut world = World::new();
    let (_, one) = world.enter();
    let (_, two) = world.enter();
    world.wait(6_000);
    let response = world.joined(one).expect("joined");
    let other = world.joined(two).expect("joined");
    let follower = if response.leader == response.member_id { other.member_id } else { response.member_id };
    let sync = world.sync(&follower, 1, &[]);
    let mut replies = std::mem::replace(&mut world.shard, GroupShard::new(Settings::default())).unloaded();
    let reply = replies.pop().expect("one waits");
    let Response::Sync(response) = reply.response else { panic!("not a sync") };
    assert_eq!((reply.to, error(response.error_code)), (sync, ErrorCode::NotCoordinator));
}
