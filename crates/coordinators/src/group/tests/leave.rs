use super::*;

#[test]
fn trap_117_a_pending_member_may_leave() {
    let mut world = World::new();
    let id = world.pending();
    let response = world.leave(5, &[(&id, None)]);
    assert_eq!((response.error_code, response.members[0].error_code), (0, 0));
    let to = world.join(9, &id);
    assert_eq!(error(world.joined(to).expect("refused").error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn trap_117_an_operator_removes_static_members_by_instance_id() {
    let mut world = World::new();
    let join = world.ask(9, Request::Join(static_join("", "i")));
    world.wait(3_000);
    world.joined(join);
    let response = world.leave(5, &[("", Some("i")), ("", Some("j")), ("x", Some("i")), ("", None)]);
    let codes: Vec<ErrorCode> = response.members.iter().map(|member| error(member.error_code)).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(codes, [ErrorCode::None, unknown, unknown, unknown]);
    assert_eq!(response.members[0].group_instance_id.as_deref(), Some("i"));
    assert_eq!(world.state("g"), "Empty");
}

#[test]
fn trap_117_a_wrong_member_id_of_an_instance_is_fenced() {
    let mut world = World::new();
    world.ask(9, Request::Join(static_join("", "i")));
    world.wait(3_000);
    let response = world.leave(3, &[("former", Some("i"))]);
    assert_eq!(error(response.members[0].error_code), ErrorCode::FencedInstanceId);
}

#[test]
fn up_to_version_2_the_members_error_is_the_answers() {
    let mut world = World::new();
    let ids = world.stable(2);
    assert_eq!(error(world.leave(2, &[("stranger", None)]).error_code), ErrorCode::UnknownMemberId);
    let response = world.leave(2, &[(&ids[1], None)]);
    assert_eq!((response.error_code, response.members.len()), (0, 0));
    assert_eq!(world.state("g"), "PreparingRebalance");
}

#[test]
fn nobody_can_leave_a_group_that_does_not_exist() {
    let mut world = World::new();
    let response = world.leave(5, &[("m", None)]);
    assert_eq!((response.error_code, error(response.members[0].error_code)), (0, ErrorCode::UnknownMemberId));
    assert_eq!(error(world.leave(1, &[("m", None)]).error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_that_everybody_has_left_is_empty_and_stays_so_after_a_crash() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.leave(5, &[(&ids[0], None), (&ids[1], None)]);
    assert_eq!(world.state("g"), "Empty");
    world.reload();
    assert_eq!(world.state("g"), "Empty");
}

#[test]
fn a_member_that_leaves_while_it_waits_is_told_that_it_is_gone() {
    let mut world = World::new();
    let (id, join) = world.enter();
    world.leave(5, &[(&id, None)]);
    assert_eq!(error(world.joined(join).expect("answered").error_code), ErrorCode::UnknownMemberId);

    let mut world = World::new();
    let (one, to) = world.enter();
    let (two, _) = world.enter();
    world.wait(6_000);
    let leader = world.joined(to).expect("joined").leader;
    let follower = if leader == one { two } else { one };
    let sync = world.sync(&follower, 1, &[]);
    world.leave(5, &[(&follower, None)]);
    assert_eq!(error(world.synced(sync).expect("answered").error_code), ErrorCode::UnknownMemberId);
}
