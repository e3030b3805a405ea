//! Which partition of its internal topic a name belongs to: a group of `__consumer_offsets`, a transactional id of
//! `__transaction_state`. Every node and every tool must agree on it, so it is Java's hash of the name, and nothing
//! better.

use milena_metadata::java::java_hash;

/// The partition whose leader coordinates the group or transactional id `name`, among `partitions` (the setting
/// `offsets.topic.num.partitions` or `transaction.state.log.num.partitions` at the topic's creation; 0 is taken for 1).
///
/// Source: `GroupCoordinatorService.partitionFor`, `TransactionStateManager.partitionFor`, `Utils.abs`.
pub fn partition_for(name: &str, partitions: i32) -> i32 {
    // The smallest integer has no positive counterpart; Kafka takes 0 for it.
    java_hash(name).checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_25_the_partition_is_javas_hash_of_the_group_id() {
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash(""), 0);
        // Surrogate pairs count as two code units.
        assert_eq!(java_hash("😀"), 0xd83d * 31 + 0xde00);
        assert_eq!(partition_for("hello", 50), 22);
        assert_eq!(partition_for("", 50), 0);
    }

    #[test]
    fn trap_25_the_smallest_hash_belongs_to_partition_0() {
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("polygenelubricants", 3), 0);
    }
}
