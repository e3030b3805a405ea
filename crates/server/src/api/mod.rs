//! One function per API: authorize, ask the machine behind it, answer. Decisions live further down.

/// Takes the response that belongs to a request; the shard answers nothing else.
macro_rules! expect {
    ($response:expr, $variant:path) => {
        match $response {
            $variant(response) => response,
            other => unreachable!("the shard answered {other:?}"),
        }
    };
}

pub mod acls;
pub mod add_to_txn;
pub mod alter_log_dirs;
pub mod api_versions;
pub mod changes;
pub mod client_quotas;
pub mod cluster;
pub mod config_resources;
pub mod configs;
pub mod consumer_groups;
pub mod delete_records;
pub mod describe_producers;
pub mod epochs;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod list_offsets;
pub mod log_dirs;
pub mod metadata;
pub mod produce;
pub mod quorum;
pub mod reassignments;
mod repeated;
pub mod telemetry;
pub mod topics;
pub mod transactions;
pub mod txn_offset_commit;
pub mod write_txn_markers;

/// What everybody may do while there is no authorizer, as bits of `AclOperation`.
pub mod operations {
    /// On a topic: READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
    pub const TOPIC: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
    /// On the cluster: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
    pub const CLUSTER: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
    /// On a group: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
    pub const GROUP: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
}
