use super::*;

#[test]
fn trap_106_a_new_member_is_asked_to_come_back_with_its_id() {
    let mut world = World::new();
    let to = world.join(4, "");
    let response = world.joined(to).expect("is answered at once");
    assert_eq!(error(response.error_code), ErrorCode::MemberIdRequired);
    assert!(response.member_id.starts_with("client-") && response.member_id.len() == "client-".len() + 36);
    assert_eq!((response.generation_id, response.protocol_name.as_deref()), (-1, Some("")));
    let join = world.join(4, &response.member_id);
    assert_eq!(world.joined(join), None, "waits for the rebalance");
}

#[test]
fn trap_106_before_version_4_and_with_an_instance_id_a_member_gets_in_at_once() {
    let mut world = World::new();
    let old = world.join(3, "");
    let fixed = world.ask(9, Request::Join(static_join("", "i")));
    world.wait(6_000);
    assert_eq!(world.joined(old).expect("joined").error_code, 0);
    let fixed = world.joined(fixed).expect("joined");
    assert_eq!(fixed.error_code, 0);
    assert!(fixed.member_id.starts_with("i-"), "static members carry their instance id: {}", fixed.member_id);
}

#[test]
fn trap_106_an_unused_member_id_ends_with_its_session() {
    let mut world = World::new();
    let id = world.pending();
    world.wait(i64::from(SESSION_MS));
    let to = world.join(9, &id);
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_108_a_member_in_its_first_join_has_five_minutes() {
    let mut world = World::new();
    let leader = world.stable(1).remove(0);
    let (_, newcomer) = world.enter();
    for _ in 0..9 {
        world.wait(i64::from(SESSION_MS) - 1);
        world.heartbeat(&leader, 1);
    }
    assert_eq!(world.joined(newcomer).expect("the leader was left behind").error_code, 0);

    // A lone static member that never joins again keeps a newcomer waiting longer than any session.
    let mut world = World::with(Settings { new_member_join_timeout_ms: 50_000, ..Settings::default() });
    world.stable(1);
    let slow = JoinGroupRequest { rebalance_timeout_ms: 600_000, ..join_request("") };
    let to = world.ask(3, Request::Join(slow));
    world.wait(9_999);
    assert_eq!(world.state("g"), "PreparingRebalance");
    assert_eq!(world.joined(to), None);
    world.wait(1);
    let response = world.joined(to).expect("the silent member is gone, so all have joined");
    assert_eq!(response.error_code, 0);
}

#[test]
fn trap_108_a_first_join_that_lasts_longer_than_the_limit_is_refused() {
    let settings = Settings { new_member_join_timeout_ms: 20_000, ..Settings::default() };
    let mut world = World::with(settings);
    let leader = world.stable(1).remove(0);
    let to = world.ask(3, Request::Join(JoinGroupRequest { rebalance_timeout_ms: 600_000, ..join_request("") }));
    for _ in 0..3 {
        world.wait(8_000);
        assert_eq!(world.heartbeat(&leader, 1), ErrorCode::RebalanceInProgress);
    }
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_110_a_repeated_join_is_told_the_current_generation() {
    let mut world = World::new();
    let (id, to) = world.enter();
    world.wait(6_000);
    let first = world.joined(to).expect("joined");
    let again = world.join(9, &id);
    assert_eq!(world.joined(again), Some(first));
    assert_eq!(world.state("g"), "CompletingRebalance");
}

#[test]
fn trap_110_a_follower_may_repeat_its_join_in_a_stable_group() {
    let mut world = World::new();
    let ids = world.stable(2);
    let to = world.join(9, &ids[1]);
    let response = world.joined(to).expect("answered at once");
    assert_eq!((response.error_code, response.generation_id, response.members.len()), (0, 1, 0));
    assert_eq!(world.state("g"), "Stable");
}

#[test]
fn trap_110_the_leader_joining_a_stable_group_starts_a_rebalance() {
    let mut world = World::new();
    let ids = world.stable(2);
    let to = world.join(9, &ids[0]);
    assert_eq!(world.joined(to), None);
    assert_eq!(world.state("g"), "PreparingRebalance");
    assert_eq!(world.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_member_with_another_subscription_starts_a_rebalance() {
    let mut world = World::new();
    let ids = world.stable(2);
    let changed = JoinGroupRequest { protocols: vec![protocol("range", &["t", "u"])], ..join_request(&ids[1]) };
    world.ask(9, Request::Join(changed));
    assert_eq!(world.state("g"), "PreparingRebalance");
}

fn stable_with_static(world: &mut World, other_first: bool) -> (String, Option<String>) {
    let other = other_first.then(|| world.enter());
    let to = world.ask(9, Request::Join(static_join("", "i")));
    world.wait(6_000);
    let joined = world.joined(to).expect("joined");
    let other = other.map(|(id, to)| {
        world.joined(to).expect("joined");
        id
    });
    let assignments = [(joined.member_id.as_str(), "static"), (other.as_deref().unwrap_or("-"), "dynamic")];
    let followers: Vec<&str> = [&joined.member_id].into_iter().chain(&other).map(String::as_str).collect();
    for id in followers.iter().filter(|id| **id != joined.leader) {
        world.sync(id, 1, &[]);
    }
    world.sync(&joined.leader, 1, &assignments);
    world.answers.clear();
    assert_eq!(world.state("g"), "Stable");
    (joined.member_id, other)
}

#[test]
fn trap_111_a_static_member_comes_back_without_a_rebalance_and_fences_its_former_id() {
    let mut world = World::new();
    let (former, leader) = stable_with_static(&mut world, true);
    let (to, records) = world.decide(9, Request::Join(static_join("", "i")));
    let response = world.joined(to).expect("answered at once");
    assert_eq!((response.error_code, response.generation_id, response.skip_assignment), (0, 1, false));
    assert_ne!(response.member_id, former);
    assert_eq!(Some(&response.leader), leader.as_ref());
    assert_eq!(records.len(), 1, "the new id is written");
    assert_eq!(world.state("g"), "Stable");
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: former,
        group_instance_id: Some("i".into()),
    };
    let Response::Heartbeat(beat) = world.answer(4, Request::Heartbeat(beat)) else { panic!("not a heartbeat") };
    assert_eq!(error(beat.error_code), ErrorCode::FencedInstanceId);
    let sync = SyncGroupRequest { group_instance_id: Some("i".into()), ..sync_request(&response.member_id, 1, &[]) };
    let sync = world.ask(5, Request::Sync(sync));
    assert_eq!(&world.synced(sync).expect("stable").assignment[..], b"static");
    world.reload();
    assert_eq!(world.heartbeat(&response.member_id, 1), ErrorCode::None);
}

#[test]
fn trap_111_a_static_leader_is_told_to_skip_the_assignment_from_version_9_on() {
    let mut world = World::new();
    let (former, _) = stable_with_static(&mut world, false);
    let to = world.ask(8, Request::Join(static_join("", "i")));
    let old = world.joined(to).expect("answered at once");
    assert_eq!((old.leader.as_str(), old.members.len()), (former.as_str(), 0), "it must not think that it leads");
    let to = world.ask(9, Request::Join(static_join("", "i")));
    let new = world.joined(to).expect("answered at once");
    assert_eq!((new.skip_assignment, new.members.len(), &new.leader), (true, 1, &new.member_id));
}

#[test]
fn trap_111_a_static_member_that_changes_the_selected_protocol_starts_a_rebalance() {
    let mut world = World::new();
    let both = vec![protocol("range", &["t"]), protocol("sticky", &["t"])];
    let to = world.ask(9, Request::Join(JoinGroupRequest { protocols: both.clone(), ..static_join("", "i") }));
    world.wait(6_000);
    let id = world.joined(to).expect("joined").member_id;
    world.sync(&id, 1, &[]);
    let turned = both.into_iter().rev().collect();
    world.ask(9, Request::Join(JoinGroupRequest { protocols: turned, ..static_join("", "i") }));
    assert_eq!(world.state("g"), "CompletingRebalance", "the only member has joined the next generation");
}

#[test]
fn trap_111_whoever_waits_under_the_former_id_is_fenced() {
    let mut world = World::new();
    let waiting = world.ask(9, Request::Join(static_join("", "i")));
    let successor = world.ask(9, Request::Join(static_join("", "i")));
    assert_eq!(error(world.joined(waiting).expect("fenced").error_code), ErrorCode::FencedInstanceId);
    world.wait(6_000);
    assert_eq!(world.joined(successor).expect("joined").error_code, 0);
}

#[test]
fn trap_112_only_the_leader_learns_of_the_members_and_votes_select_the_protocol() {
    let mut world = World::new();
    let offers = [&["a", "b"][..], &["b", "a"], &["b", "a", "c"]];
    let joins = offers.map(|offer| {
        let protocols = offer.iter().map(|name| protocol(name, &["t"])).collect();
        world.ask(3, Request::Join(JoinGroupRequest { protocols, ..join_request("") }))
    });
    world.wait(6_000);
    for to in joins {
        let response = world.joined(to).expect("joined");
        let expected = if response.leader == response.member_id { 3 } else { 0 };
        assert_eq!(response.members.len(), expected);
        assert_eq!(response.protocol_name.as_deref(), Some("b"));
    }
}

#[test]
fn trap_112_without_a_common_protocol_nobody_gets_in() {
    let mut world = World::new();
    world.stable(1);
    let other = JoinGroupRequest { protocols: vec![protocol("sticky", &["t"])], ..join_request("") };
    let to = world.ask(9, Request::Join(other));
    let refused = world.joined(to).expect("refused");
    assert_eq!(error(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused.protocol_name, None, "null from version 7 on");
    let other = JoinGroupRequest { protocol_type: "connect".into(), ..join_request("") };
    let to = world.ask(6, Request::Join(other));
    let refused = world.joined(to).expect("refused");
    assert_eq!(error(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused.protocol_name.as_deref(), Some(""), "empty before version 7");
}

#[test]
fn trap_118_a_full_group_takes_nobody_new_and_former_members_win() {
    let mut world = World::with(Settings { size_max: 2, ..Settings::default() });
    let ids = world.stable(2);
    let to = world.join(9, "");
    let refused = world.joined(to).expect("refused");
    assert_eq!((error(refused.error_code), refused.member_id.as_str()), (ErrorCode::GroupMaxSizeReached, ""));
    let leader = world.join(9, &ids[0]);
    // While preparing only those who wait are counted, so there is room until the former members are back.
    let early = world.pending();
    let follower = world.join(9, &ids[1]);
    let late = world.join(9, &early);
    assert_eq!(error(world.joined(late).expect("refused").error_code), ErrorCode::GroupMaxSizeReached);
    // The id that was refused is no longer waited for, but only the timeout looks again.
    world.wait(i64::from(REBALANCE_MS));
    assert_eq!(world.joined(leader).expect("joined").error_code, 0);
    assert_eq!(world.joined(follower).expect("joined").error_code, 0);
}

#[test]
fn a_group_that_has_become_too_large_rebalances_when_it_is_loaded() {
    let mut world = World::new();
    world.stable(3);
    world.settings.size_max = 2;
    world.reload();
    assert_eq!(world.state("g"), "PreparingRebalance");
}

#[test]
fn joins_are_refused_before_any_shard_is_asked() {
    let refused = |request: JoinGroupRequest| match refuse(&Request::Join(request), 9, &Settings::default()) {
        Some(Response::Join(response)) => Some((error(response.error_code), response.member_id)),
        _ => None,
    };
    let nameless = JoinGroupRequest { group_id: String::new(), ..join_request("m") };
    assert_eq!(refused(nameless), Some((ErrorCode::InvalidGroupId, "m".into())));
    for session_timeout_ms in [5_999, 1_800_001] {
        let request = JoinGroupRequest { session_timeout_ms, ..join_request("m") };
        assert_eq!(refused(request), Some((ErrorCode::InvalidSessionTimeout, "m".into())));
    }
    assert_eq!(refused(JoinGroupRequest { session_timeout_ms: 6_000, ..join_request("") }), None);
}

#[test]
fn an_unknown_member_of_an_unknown_group_is_unknown() {
    let mut world = World::new();
    let (to, records) = world.decide(9, Request::Join(join_request("stranger")));
    let response = world.joined(to).expect("refused");
    assert_eq!((error(response.error_code), response.member_id.as_str()), (ErrorCode::UnknownMemberId, "stranger"));
    assert!(records.is_empty());
}

#[test]
fn a_join_that_is_repeated_while_it_waits_is_answered_twice() {
    let mut world = World::new();
    let (id, first) = world.enter();
    let second = world.join(9, &id);
    assert_eq!(error(world.joined(first).expect("superseded").error_code), ErrorCode::RebalanceInProgress);
    world.wait(6_000);
    assert_eq!(world.joined(second).expect("joined").error_code, 0);
}

#[test]
fn unused_member_ids_are_bounded() {
    let mut world = World::with(Settings { pending_members_max: 2, ..Settings::default() });
    world.pending();
    world.pending();
    let to = world.join(9, "");
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::CoordinatorLoadInProgress);
}

#[test]
fn groups_are_bounded() {
    let mut world = World::with(Settings { groups_max: 1, ..Settings::default() });
    world.pending();
    let other = JoinGroupRequest { group_id: "h".into(), ..join_request("") };
    let to = world.ask(9, Request::Join(other));
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::CoordinatorLoadInProgress);
    let commit = OffsetCommitRequest { group_id: "h".into(), ..commit_request("", -1, 1) };
    assert_eq!(world.commit_request(9, commit), ErrorCode::CoordinatorLoadInProgress);
}

#[test]
fn texts_that_would_not_fit_into_records_are_refused() {
    let mut world = World::new();
    let request = JoinGroupRequest { group_id: "\u{fffd}".repeat(20_000), ..join_request("") };
    let to = world.ask(3, Request::Join(request));
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::InvalidRequest);
}
