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
}

impl Bug {
    pub(super) const ALL: [Bug; 17] = [
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
}
