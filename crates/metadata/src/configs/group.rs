//! Settings of a group.
//!
//! Source of names, types, defaults and validators: Kafka 4.3.1. Sorted by name.

use super::Setting;
use super::table::settings;

settings! { GROUP
    "consumer.assignment.interval.ms", Int, "1000", Medium, AtLeast(0), ClusterWide, Acts, Public, "Shortest time between two assignments of a consumer group, in milliseconds.";
    "consumer.heartbeat.interval.ms", Int, "5000", Medium, AtLeast(1), ClusterWide, Acts, Public, "Time between a member's heartbeats in a consumer group, in milliseconds.";
    "consumer.session.timeout.ms", Int, "45000", Medium, AtLeast(1), ClusterWide, Acts, Public, "Silence after which a member of a consumer group is removed, in milliseconds.";
    "share.assignment.interval.ms", Int, "1000", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "Shortest time between two assignments of a share group, in milliseconds.";
    "share.auto.offset.reset", Text, "latest", Medium, OffsetReset, ClusterWide, NoEffect, Public, "Where a share group begins without a stored offset.";
    "share.delivery.count.limit", Int, "5", Medium, AtLeast(2), ClusterWide, NoEffect, Public, "Most deliveries of a record in a share group.";
    "share.heartbeat.interval.ms", Int, "5000", Medium, AtLeast(1), ClusterWide, NoEffect, Public, "Time between a member's heartbeats in a share group, in milliseconds.";
    "share.isolation.level", Text, "read_uncommitted", Medium, OneOf(&["read_committed", "read_uncommitted"]), ClusterWide, NoEffect, Public, "Whether a share group sees records of open transactions.";
    "share.partition.max.record.locks", Int, "2000", Medium, AtLeast(100), ClusterWide, NoEffect, Public, "Most records of a partition that a share group holds at once.";
    "share.record.lock.duration.ms", Int, "30000", Medium, AtLeast(1000), ClusterWide, NoEffect, Public, "How long a share group's member holds a record, in milliseconds.";
    "share.renew.acknowledge.enable", Boolean, "true", Medium, Any, ClusterWide, NoEffect, Public, "Whether members of a share group may prolong their hold on records.";
    "share.session.timeout.ms", Int, "45000", Medium, AtLeast(1), ClusterWide, NoEffect, Public, "Silence after which a member of a share group is removed, in milliseconds.";
    "streams.assignment.interval.ms", Int, "1000", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "Shortest time between two assignments of a streams group, in milliseconds.";
    "streams.heartbeat.interval.ms", Int, "5000", Medium, AtLeast(1), ClusterWide, NoEffect, Public, "Time between a member's heartbeats in a streams group, in milliseconds.";
    "streams.initial.rebalance.delay.ms", Int, "3000", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "Time that a new streams group waits for more members, in milliseconds.";
    "streams.num.standby.replicas", Int, "0", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "Standby copies of each task in a streams group.";
    "streams.session.timeout.ms", Int, "45000", Medium, AtLeast(1), ClusterWide, NoEffect, Public, "Silence after which a member of a streams group is removed, in milliseconds.";
}
