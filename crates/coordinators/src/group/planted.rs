//! Faults that tests plant in the machine, to see that the simulation finds them. Not compiled into anything else.

/// One fault. Each says what goes wrong while it is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// Answers do not wait for the records that they know of.
    AnswerBeforeCommit,
    /// A commit of a former generation is accepted.
    StaleGeneration,
    /// A member that does not know its part yet may commit.
    CommitWithoutPart,
    /// A commit is no sign of life.
    CommitIsNoSignOfLife,
    /// A join of a member that is known already is not parked while a rebalance is prepared.
    JoinForgotten,
    /// A join that comes again leaves the former one without an answer. Kafka's way, with a client that is gone.
    FormerJoinUnanswered,
    /// Each member hears of the generation twice.
    AnsweredTwice,
    /// The leader's assignment is handed out without its record.
    SyncBeforeRecord,
    /// An empty group dies though it has offsets.
    TombstoneWithOffsets,
    /// Offsets expire at once.
    ExpiryAtOnce,
    /// A static member that returns is a member under both ids.
    StaticMemberTwice,
    /// A former id of an instance is unknown instead of fenced.
    InstanceNotFenced,
    /// A leader that is gone is not replaced.
    LeaderNotReplaced,
    /// Each static member is told that it leads.
    TwoLeaders,
    /// The next generation has the number of the former one.
    GenerationTwice,
    /// A transaction's offset overtakes a newer one.
    OffsetOvertaken,
    /// Members that were loaded have no session.
    SessionsLostOnReload,
    /// A member of a consumer group is granted what another one holds.
    GrantedWhileHeld,
    /// A member goes to the next epoch though it has not said that it gave anything back.
    EpochBeforeGivenBack,
    /// A member whose last answer was lost is fenced.
    PreviousEpochFenced,
    /// A heartbeat does not prolong the session of a consumer.
    HeartbeatIsNoSignOfLife,
    /// Consumers that were loaded have no session.
    ConsumerSessionsLost,
    /// A consumer may commit in an old epoch what it no longer has.
    StaleCommit,
    /// Every instance id is free.
    InstanceTwice,
    /// An instance that leaves for now leaves for good.
    InstanceLosesItsPart,
    /// Nobody is assigned anew when a consumer leaves.
    LeaveWithoutEpoch,
    /// A group looks at its topics once.
    TopicsUnseen,
    /// Only who joins is told its assignment.
    AssignmentUntold,
    /// No limit is set for giving back.
    RebalanceLimitForgotten,
    /// What a consumer was to have stays meant for it when it is gone.
    TargetLeftBehind,
    /// Expressions whose match was lost with the shard are not matched again.
    LostMatchForgotten,
    /// What an expression matches is written down, and nobody is assigned anew.
    MatchWithoutEpoch,
    /// A classic group that becomes a consumer group forgets who owns what.
    UpgradeForgetsParts,
    /// Its members begin in another generation than theirs.
    UpgradeLosesGeneration,
    /// Whoever waits for a rebalance of it waits on.
    WaitersForgotten,
    /// Of a consumer group that becomes a classic one the members' records stay.
    DowngradeLeavesRecords,
    /// Its generation is behind its epoch.
    DowngradeLosesEpoch,
    /// An instance of the classic protocol that returns to a consumer group is a member under both ids.
    ClassicInstanceTwice,
    /// Its former id is unknown instead of fenced.
    ClassicNotFenced,
    /// It has nothing that it had.
    ClassicInstanceLosesPart,
    /// A classic member of a consumer group may commit in a former generation what it no longer has.
    ClassicStaleCommit,
    /// A join does not prolong the session of a classic member in a consumer group.
    ClassicJoinIsNoSignOfLife,
    /// Whoever has synced is put out as if it had not.
    SyncLimitStays,
    /// Whoever has joined, being told to, is put out as if it had not.
    JoinLimitStays,
    /// A classic member of a consumer group never hears that there is something new.
    RebalanceUntold,
}

impl Bug {
    /// Those that members of classic groups can notice.
    pub(super) const OF_CLASSIC: [Bug; 17] = [
        Bug::AnswerBeforeCommit,
        Bug::StaleGeneration,
        Bug::CommitWithoutPart,
        Bug::CommitIsNoSignOfLife,
        Bug::JoinForgotten,
        Bug::FormerJoinUnanswered,
        Bug::AnsweredTwice,
        Bug::SyncBeforeRecord,
        Bug::TombstoneWithOffsets,
        Bug::ExpiryAtOnce,
        Bug::StaticMemberTwice,
        Bug::InstanceNotFenced,
        Bug::LeaderNotReplaced,
        Bug::TwoLeaders,
        Bug::GenerationTwice,
        Bug::OffsetOvertaken,
        Bug::SessionsLostOnReload,
    ];

    /// Those that members of consumer groups can notice.
    pub(super) const OF_CONSUMERS: [Bug; 15] = [
        Bug::GrantedWhileHeld,
        Bug::EpochBeforeGivenBack,
        Bug::PreviousEpochFenced,
        Bug::HeartbeatIsNoSignOfLife,
        Bug::ConsumerSessionsLost,
        Bug::StaleCommit,
        Bug::InstanceTwice,
        Bug::InstanceLosesItsPart,
        Bug::LeaveWithoutEpoch,
        Bug::TopicsUnseen,
        Bug::AssignmentUntold,
        Bug::RebalanceLimitForgotten,
        Bug::TargetLeftBehind,
        Bug::LostMatchForgotten,
        Bug::MatchWithoutEpoch,
    ];

    /// Those that members of either protocol can notice when their group changes its kind.
    pub(super) const OF_MIGRATIONS: [Bug; 13] = [
        Bug::UpgradeForgetsParts,
        Bug::UpgradeLosesGeneration,
        Bug::WaitersForgotten,
        Bug::DowngradeLeavesRecords,
        Bug::DowngradeLosesEpoch,
        Bug::ClassicInstanceTwice,
        Bug::ClassicNotFenced,
        Bug::ClassicInstanceLosesPart,
        Bug::ClassicStaleCommit,
        Bug::ClassicJoinIsNoSignOfLife,
        Bug::SyncLimitStays,
        Bug::JoinLimitStays,
        Bug::RebalanceUntold,
    ];
}
