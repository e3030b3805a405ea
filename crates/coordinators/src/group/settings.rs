//! What an operator can set for groups, with Kafka's names and defaults.

use milena_base::Millis;

use super::consumer::Assignor;

/// Settings of the group coordinator. Source: `GroupCoordinatorConfig` of Kafka 4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub size_max: usize,
    /// How long a member may wait in its first join; Kafka has no key for it.
    pub new_member_join_timeout_ms: i32,
    /// `offset.metadata.max.bytes`, counted in UTF-16 code units as Kafka does.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, here in milliseconds.
    pub offsets_retention: Millis,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Millis,
    /// Member ids of one group that were given out and not used yet; at the bound a join is answered
    /// COORDINATOR_LOAD_IN_PROGRESS, upon which clients try again. Not Kafka's: it has no bound.
    pub pending_members_max: usize,
    /// Groups of one shard; at the bound a new group is answered COORDINATOR_LOAD_IN_PROGRESS. Not Kafka's.
    pub groups_max: usize,
    /// Settings of consumer groups.
    pub consumer: ConsumerSettings,
    /// A fault that a test has planted.
    #[cfg(test)]
    pub(super) planted: Option<super::planted::Bug>,
}

/// `group.consumer.*`. Groups may have settings of their own for the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`: what members are told.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`: targets are not made more often than this.
    pub assignment_interval_ms: i32,
    /// `group.consumer.max.size`: members of one group.
    pub size_max: usize,
    /// `group.consumer.assignors`: the first is the default.
    pub assignors: &'static [Assignor],
    /// `group.consumer.regex.refresh.interval.ms`: expressions are matched again after this time.
    pub regex_refresh_interval_ms: i32,
}

impl Default for ConsumerSettings {
    fn default() -> ConsumerSettings {
        ConsumerSettings {
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            assignment_interval_ms: 1_000,
            size_max: i32::MAX as usize,
            assignors: &[Assignor::Uniform, Assignor::Range],
            regex_refresh_interval_ms: 600_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            size_max: i32::MAX as usize,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
            offset_metadata_max: 4_096,
            offsets_retention: Millis(7 * 24 * 60 * 60 * 1_000),
            offsets_retention_check_interval: Millis(600_000),
            pending_members_max: 10_000,
            groups_max: 1_000_000,
            consumer: ConsumerSettings::default(),
            #[cfg(test)]
            planted: None,
        }
    }
}

#[cfg(test)]
impl Settings {
    /// Whether that fault is planted.
    pub(super) fn has(&self, bug: super::planted::Bug) -> bool {
        self.planted == Some(bug)
    }
}
