//! Settings of a topic.
//!
//! Source of names, types, defaults and validators: Kafka 4.3.1. Sorted by name.

use super::Setting;
use super::table::settings;

settings! { TOPIC
    "cleanup.policy", List, "delete", Medium, Words { known: &["compact", "delete"], empty: true }, ClusterWide, Acts, Public, "What becomes of old segments: delete, compact, both, or nothing when empty.";
    "compression.gzip.level", Int, "-1", Medium, GzipLevel, ClusterWide, Acts, Public, "Level of gzip where the broker compresses; -1 is gzip's own default.";
    "compression.lz4.level", Int, "9", Medium, Between(1, 17), ClusterWide, Fixed, Public, "Level of lz4 where the broker compresses: the encoder knows one way, whichever level is said.";
    "compression.type", Text, "producer", Medium, OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), ClusterWide, Acts, Public, "Codec that batches are stored in; producer keeps what was sent.";
    "compression.zstd.level", Int, "3", Medium, Between(-131072, 22), ClusterWide, Acts, Public, "Level of zstd where the broker compresses.";
    "delete.retention.ms", Long, "86400000", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "How long a compacted topic keeps tombstones, in milliseconds.";
    "file.delete.delay.ms", Long, "60000", Medium, AtLeast(0), ClusterWide, Acts, Public, "How long a removed segment's files stay on disk, in milliseconds.";
    "flush.messages", Long, "9223372036854775807", Medium, AtLeast(1), ClusterWide, Acts, Public, "Flush after so many records; 1 flushes before each acknowledgement.";
    "flush.ms", Long, "9223372036854775807", Medium, AtLeast(0), ClusterWide, Acts, Public, "Flush at least this often, in milliseconds.";
    "follower.replication.throttled.replicas", List, "", Medium, ThrottledReplicas, ClusterWide, NoEffect, Public, "Replicas whose fetching is throttled: partition:broker pairs, or *.";
    "index.interval.bytes", Int, "4096", Medium, AtLeast(0), ClusterWide, Acts, Public, "Bytes of records between two entries of the offset index.";
    "internal.segment.bytes", Int, null, Medium, Any, ClusterWide, NoEffect, Internal, "Segment size without its lower bound, for tests.";
    "leader.replication.throttled.replicas", List, "", Medium, ThrottledReplicas, ClusterWide, NoEffect, Public, "Replicas that leaders serve throttled: partition:broker pairs, or *.";
    "local.retention.bytes", Long, "-2", Medium, AtLeast(-2), ClusterWide, NoEffect, Public, "Bytes of a tiered partition kept locally; -2 follows retention.bytes.";
    "local.retention.ms", Long, "-2", Medium, AtLeast(-2), ClusterWide, NoEffect, Public, "Time that a tiered partition's records stay local; -2 follows retention.ms.";
    "max.compaction.lag.ms", Long, "9223372036854775807", Medium, AtLeast(1), ClusterWide, NoEffect, Public, "Longest time that a record stays out of compaction, in milliseconds.";
    "max.message.bytes", Int, "1048588", Medium, AtLeast(0), ClusterWide, Acts, Public, "Largest batch, as compressed, in bytes.";
    "message.timestamp.after.max.ms", Long, "3600000", Medium, AtLeast(0), ClusterWide, Acts, Public, "How far ahead of the broker's clock a record's timestamp may be, in milliseconds.";
    "message.timestamp.before.max.ms", Long, "9223372036854775807", Medium, AtLeast(0), ClusterWide, Acts, Public, "How far behind the broker's clock a record's timestamp may be, in milliseconds.";
    "message.timestamp.type", Text, "CreateTime", Medium, OneOf(&["CreateTime", "LogAppendTime"]), ClusterWide, Acts, Public, "CreateTime keeps the producer's timestamp, LogAppendTime sets the broker's.";
    "min.cleanable.dirty.ratio", Double, "0.5", Medium, DoubleBetween(0.0, 1.0), ClusterWide, NoEffect, Public, "Share of a log that must be uncompacted before compaction starts.";
    "min.compaction.lag.ms", Long, "0", Medium, AtLeast(0), ClusterWide, NoEffect, Public, "Shortest time before a record may be compacted, in milliseconds.";
    "min.insync.replicas", Int, "1", Medium, AtLeast(1), ClusterWide, Acts, Public, "Replicas that must be in sync for acks=all.";
    "preallocate", Boolean, "false", Medium, Any, ClusterWide, Acts, Public, "Whether segment files get their full size at creation.";
    "remote.log.copy.disable", Boolean, "false", Medium, Any, ClusterWide, NoEffect, Public, "Stops copying to remote storage; the topic becomes read-only there.";
    "remote.log.delete.on.disable", Boolean, "false", Medium, Any, ClusterWide, NoEffect, Public, "Whether turning remote storage off deletes what is there.";
    "remote.storage.enable", Boolean, "false", Medium, Any, ClusterWide, NoEffect, Public, "Whether segments are copied to remote storage.";
    "retention.bytes", Long, "-1", Medium, Any, ClusterWide, Acts, Public, "Largest size of a partition, in bytes; -1 is unlimited.";
    "retention.ms", Long, "604800000", Medium, AtLeast(-1), ClusterWide, Acts, Public, "How long records are kept, in milliseconds; -1 is unlimited.";
    "segment.bytes", Int, "1073741824", Medium, AtLeast(1048576), ClusterWide, Acts, Public, "Size at which a segment is closed, in bytes.";
    "segment.index.bytes", Int, "10485760", Medium, AtLeast(4), ClusterWide, Acts, Public, "Largest size of an index file, in bytes.";
    "segment.jitter.ms", Long, "0", Medium, AtLeast(0), ClusterWide, Acts, Public, "Largest random time taken off segment.ms, in milliseconds.";
    "segment.ms", Long, "604800000", Medium, AtLeast(1), ClusterWide, Acts, Public, "Age at which a segment is closed, in milliseconds.";
    "unclean.leader.election.enable", Boolean, "false", Medium, Any, ClusterWide, NoEffect, Public, "Whether a replica that is not in sync may lead when no other can: records may be lost.";
}
