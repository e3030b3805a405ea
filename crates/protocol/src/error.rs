//! The error codes of the protocol.
//!
//! Source: `Errors` in kafka-clients 4.3.1; whether a client may try again follows the class of its exception.

/// Makes the enum with its names, numbers, the question whether to try again, and what it is about.
macro_rules! error_codes {
    ($($name:ident = $code:literal $kafka:literal $retriable:literal $about:literal,)*) => {
        /// An error code; 0 is success.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $kafka, "`: ", $about, ".")]
                $name = $code,
            )*
            /// `NONE`: success.
            #[default]
            None = 0,
        }

        impl ErrorCode {
            /// Every code but `None`.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The name that Kafka's documentation uses.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $kafka,)*
                    ErrorCode::None => "NONE",
                }
            }

            /// What went wrong, for people: half a sentence without a capital or a full stop.
            pub fn about(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $about,)*
                    ErrorCode::None => "success",
                }
            }

            /// Whether the same request may succeed later without any change.
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$name => $retriable,)*
                    ErrorCode::None => false,
                }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1 "UNKNOWN_SERVER_ERROR" false
        "the broker failed in a way that has no code of its own; its log says more",
    OffsetOutOfRange = 1 "OFFSET_OUT_OF_RANGE" false
        "the partition has no such offset: it is below the log start or beyond the log end",
    CorruptMessage = 2 "CORRUPT_MESSAGE" true
        "a batch arrived damaged: its checksum, size or layout is wrong",
    UnknownTopicOrPartition = 3 "UNKNOWN_TOPIC_OR_PARTITION" true
        "this broker knows no such topic or partition",
    InvalidFetchSize = 4 "INVALID_FETCH_SIZE" false
        "the fetch size asked for is not valid",
    LeaderNotAvailable = 5 "LEADER_NOT_AVAILABLE" true
        "the partition has no leader at the moment",
    NotLeaderOrFollower = 6 "NOT_LEADER_OR_FOLLOWER" true
        "this broker does not hold the replica that the request needs; ask the leader",
    RequestTimedOut = 7 "REQUEST_TIMED_OUT" true
        "the request did not finish within its time limit",
    BrokerNotAvailable = 8 "BROKER_NOT_AVAILABLE" false
        "no broker is available for this request",
    ReplicaNotAvailable = 9 "REPLICA_NOT_AVAILABLE" true
        "this broker holds no replica that can answer",
    MessageTooLarge = 10 "MESSAGE_TOO_LARGE" false
        "a batch is larger than the topic or the broker accepts",
    StaleControllerEpoch = 11 "STALE_CONTROLLER_EPOCH" false
        "the request comes from a controller that has been replaced",
    OffsetMetadataTooLarge = 12 "OFFSET_METADATA_TOO_LARGE" false
        "the text stored beside a committed offset is too long",
    NetworkException = 13 "NETWORK_EXCEPTION" true
        "the connection broke before an answer came",
    CoordinatorLoadInProgress = 14 "COORDINATOR_LOAD_IN_PROGRESS" true
        "the coordinator is still loading its state",
    CoordinatorNotAvailable = 15 "COORDINATOR_NOT_AVAILABLE" true
        "no coordinator is available at the moment",
    NotCoordinator = 16 "NOT_COORDINATOR" true
        "this broker is not the coordinator of that group or transactional id",
    InvalidTopicException = 17 "INVALID_TOPIC_EXCEPTION" false
        "the topic's name is not valid, or the topic may not be used in this way",
    RecordListTooLarge = 18 "RECORD_LIST_TOO_LARGE" false
        "the batch is larger than a segment of the log",
    NotEnoughReplicas = 19 "NOT_ENOUGH_REPLICAS" true
        "too few replicas are in sync to accept the write",
    NotEnoughReplicasAfterAppend = 20 "NOT_ENOUGH_REPLICAS_AFTER_APPEND" true
        "the records were written, but too few replicas stayed in sync to confirm them",
    InvalidRequiredAcks = 21 "INVALID_REQUIRED_ACKS" false
        "acks must be 0, 1 or all",
    IllegalGeneration = 22 "ILLEGAL_GENERATION" false
        "the member speaks of a generation of the group that has passed",
    InconsistentGroupProtocol = 23 "INCONSISTENT_GROUP_PROTOCOL" false
        "the member has no assignor or protocol type in common with the group",
    InvalidGroupId = 24 "INVALID_GROUP_ID" false
        "the group id is not valid",
    UnknownMemberId = 25 "UNKNOWN_MEMBER_ID" false
        "the group has no such member",
    InvalidSessionTimeout = 26 "INVALID_SESSION_TIMEOUT" false
        "the session timeout is outside the range that the broker allows",
    RebalanceInProgress = 27 "REBALANCE_IN_PROGRESS" false
        "the group is rebalancing; the member must join again",
    InvalidCommitOffsetSize = 28 "INVALID_COMMIT_OFFSET_SIZE" false
        "the committed offset and its text are too large to be stored",
    TopicAuthorizationFailed = 29 "TOPIC_AUTHORIZATION_FAILED" false
        "not authorized to use the topic in this way",
    GroupAuthorizationFailed = 30 "GROUP_AUTHORIZATION_FAILED" false
        "not authorized to use the group in this way",
    ClusterAuthorizationFailed = 31 "CLUSTER_AUTHORIZATION_FAILED" false
        "not authorized to do this to the cluster",
    InvalidTimestamp = 32 "INVALID_TIMESTAMP" false
        "a record's timestamp is outside the range that the topic allows",
    UnsupportedSaslMechanism = 33 "UNSUPPORTED_SASL_MECHANISM" false
        "the broker does not offer this SASL mechanism",
    IllegalSaslState = 34 "ILLEGAL_SASL_STATE" false
        "the request does not belong at this point of the SASL exchange",
    UnsupportedVersion = 35 "UNSUPPORTED_VERSION" false
        "the broker does not speak this version of the request",
    TopicAlreadyExists = 36 "TOPIC_ALREADY_EXISTS" false
        "a topic of this name exists already",
    InvalidPartitions = 37 "INVALID_PARTITIONS" false
        "the number of partitions is not valid",
    InvalidReplicationFactor = 38 "INVALID_REPLICATION_FACTOR" false
        "the replication factor is not positive, or larger than the number of usable brokers",
    InvalidReplicaAssignment = 39 "INVALID_REPLICA_ASSIGNMENT" false
        "the given placement of replicas is not valid",
    InvalidConfig = 40 "INVALID_CONFIG" false
        "a configuration value is not valid",
    NotController = 41 "NOT_CONTROLLER" true
        "this node is not the active controller",
    InvalidRequest = 42 "INVALID_REQUEST" false
        "the request contradicts itself or lacks something",
    UnsupportedForMessageFormat = 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT" false
        "the format of the stored records does not allow this",
    PolicyViolation = 44 "POLICY_VIOLATION" false
        "a policy of the cluster forbids this",
    OutOfOrderSequenceNumber = 45 "OUT_OF_ORDER_SEQUENCE_NUMBER" false
        "the producer's sequence has a gap: a batch before this one is missing",
    DuplicateSequenceNumber = 46 "DUPLICATE_SEQUENCE_NUMBER" false
        "the broker has this batch already",
    InvalidProducerEpoch = 47 "INVALID_PRODUCER_EPOCH" false
        "the producer id is used with an older epoch than the broker has seen",
    InvalidTxnState = 48 "INVALID_TXN_STATE" false
        "the transaction is not in a state that allows this",
    InvalidProducerIdMapping = 49 "INVALID_PRODUCER_ID_MAPPING" false
        "the producer id does not belong to this transactional id",
    InvalidTransactionTimeout = 50 "INVALID_TRANSACTION_TIMEOUT" false
        "the transaction timeout is longer than the broker allows",
    ConcurrentTransactions = 51 "CONCURRENT_TRANSACTIONS" true
        "another change of the same transaction is still under way",
    TransactionCoordinatorFenced = 52 "TRANSACTION_COORDINATOR_FENCED" false
        "the marker comes from a transaction coordinator that has been replaced",
    TransactionalIdAuthorizationFailed = 53 "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false
        "not authorized to use the transactional id",
    SecurityDisabled = 54 "SECURITY_DISABLED" false
        "the broker runs without the security feature that this needs",
    OperationNotAttempted = 55 "OPERATION_NOT_ATTEMPTED" false
        "not tried, because another part of the same request failed",
    KafkaStorageError = 56 "KAFKA_STORAGE_ERROR" true
        "the disk failed under the partition's log",
    LogDirNotFound = 57 "LOG_DIR_NOT_FOUND" false
        "the broker has no such log directory",
    SaslAuthenticationFailed = 58 "SASL_AUTHENTICATION_FAILED" false
        "the credentials were not accepted",
    UnknownProducerId = 59 "UNKNOWN_PRODUCER_ID" false
        "the broker remembers nothing of this producer id",
    ReassignmentInProgress = 60 "REASSIGNMENT_IN_PROGRESS" false
        "a reassignment of the partition is under way",
    DelegationTokenAuthDisabled = 61 "DELEGATION_TOKEN_AUTH_DISABLED" false
        "delegation tokens are not enabled",
    DelegationTokenNotFound = 62 "DELEGATION_TOKEN_NOT_FOUND" false
        "there is no such delegation token",
    DelegationTokenOwnerMismatch = 63 "DELEGATION_TOKEN_OWNER_MISMATCH" false
        "the delegation token belongs to somebody else",
    DelegationTokenRequestNotAllowed = 64 "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" false
        "delegation tokens cannot be requested over this connection",
    DelegationTokenAuthorizationFailed = 65 "DELEGATION_TOKEN_AUTHORIZATION_FAILED" false
        "not authorized to use the delegation token",
    DelegationTokenExpired = 66 "DELEGATION_TOKEN_EXPIRED" false
        "the delegation token has expired",
    InvalidPrincipalType = 67 "INVALID_PRINCIPAL_TYPE" false
        "this type of principal is not supported",
    NonEmptyGroup = 68 "NON_EMPTY_GROUP" false
        "the group still has members",
    GroupIdNotFound = 69 "GROUP_ID_NOT_FOUND" false
        "there is no such group",
    FetchSessionIdNotFound = 70 "FETCH_SESSION_ID_NOT_FOUND" true
        "the broker has dropped the fetch session; a new one is needed",
    InvalidFetchSessionEpoch = 71 "INVALID_FETCH_SESSION_EPOCH" true
        "the fetch session is at another epoch",
    ListenerNotFound = 72 "LISTENER_NOT_FOUND" true
        "the leader has no listener of the name that this connection uses",
    TopicDeletionDisabled = 73 "TOPIC_DELETION_DISABLED" false
        "the broker does not allow topics to be deleted",
    FencedLeaderEpoch = 74 "FENCED_LEADER_EPOCH" true
        "the client speaks of a leader that has been replaced",
    UnknownLeaderEpoch = 75 "UNKNOWN_LEADER_EPOCH" true
        "the client knows a newer leader than this broker does",
    UnsupportedCompressionType = 76 "UNSUPPORTED_COMPRESSION_TYPE" false
        "the codec cannot be used with this version of the request",
    StaleBrokerEpoch = 77 "STALE_BROKER_EPOCH" false
        "the broker has registered anew since it sent this",
    OffsetNotAvailable = 78 "OFFSET_NOT_AVAILABLE" true
        "the new leader does not know yet which records are committed",
    MemberIdRequired = 79 "MEMBER_ID_REQUIRED" false
        "the member must join again with the id that it was given",
    PreferredLeaderNotAvailable = 80 "PREFERRED_LEADER_NOT_AVAILABLE" true
        "the preferred leader is not available",
    GroupMaxSizeReached = 81 "GROUP_MAX_SIZE_REACHED" false
        "the group has as many members as it may",
    FencedInstanceId = 82 "FENCED_INSTANCE_ID" false
        "another member has taken over this static instance id",
    EligibleLeadersNotAvailable = 83 "ELIGIBLE_LEADERS_NOT_AVAILABLE" true
        "no replica that may lead is available",
    ElectionNotNeeded = 84 "ELECTION_NOT_NEEDED" true
        "the partition has the right leader already",
    NoReassignmentInProgress = 85 "NO_REASSIGNMENT_IN_PROGRESS" false
        "no reassignment of the partition is under way",
    GroupSubscribedToTopic = 86 "GROUP_SUBSCRIBED_TO_TOPIC" false
        "the group is still subscribed to the topic",
    InvalidRecord = 87 "INVALID_RECORD" false
        "a record does not satisfy the rules of its topic or of the protocol",
    UnstableOffsetCommit = 88 "UNSTABLE_OFFSET_COMMIT" true
        "a transaction has offsets pending that are not decided yet",
    ThrottlingQuotaExceeded = 89 "THROTTLING_QUOTA_EXCEEDED" true
        "a quota is exceeded; wait before trying again",
    ProducerFenced = 90 "PRODUCER_FENCED" false
        "a newer producer with the same transactional id has taken over",
    ResourceNotFound = 91 "RESOURCE_NOT_FOUND" false
        "there is no such resource",
    DuplicateResource = 92 "DUPLICATE_RESOURCE" false
        "the resource exists or is named twice",
    UnacceptableCredential = 93 "UNACCEPTABLE_CREDENTIAL" false
        "the credential does not meet the requirements",
    InconsistentVoterSet = 94 "INCONSISTENT_VOTER_SET" false
        "the two nodes disagree about who may vote in the metadata quorum",
    InvalidUpdateVersion = 95 "INVALID_UPDATE_VERSION" false
        "the given version is not the one that follows the present",
    FeatureUpdateFailed = 96 "FEATURE_UPDATE_FAILED" false
        "the features could not be set to these levels",
    PrincipalDeserializationFailure = 97 "PRINCIPAL_DESERIALIZATION_FAILURE" false
        "the forwarded principal cannot be read",
    SnapshotNotFound = 98 "SNAPSHOT_NOT_FOUND" false
        "there is no such snapshot",
    PositionOutOfRange = 99 "POSITION_OUT_OF_RANGE" false
        "the snapshot has no such position",
    UnknownTopicId = 100 "UNKNOWN_TOPIC_ID" true
        "this broker knows no topic with this id",
    DuplicateBrokerRegistration = 101 "DUPLICATE_BROKER_REGISTRATION" false
        "another running broker has registered with this node id",
    BrokerIdNotRegistered = 102 "BROKER_ID_NOT_REGISTERED" false
        "no broker with this node id is registered",
    InconsistentTopicId = 103 "INCONSISTENT_TOPIC_ID" true
        "the topic's id is not the one in this broker's log",
    InconsistentClusterId = 104 "INCONSISTENT_CLUSTER_ID" false
        "the node belongs to another cluster",
    TransactionalIdNotFound = 105 "TRANSACTIONAL_ID_NOT_FOUND" false
        "there is no such transactional id",
    FetchSessionTopicIdError = 106 "FETCH_SESSION_TOPIC_ID_ERROR" true
        "topics were named in another way earlier in this fetch session",
    IneligibleReplica = 107 "INELIGIBLE_REPLICA" false
        "the replica may not become part of the in-sync replicas now",
    NewLeaderElected = 108 "NEW_LEADER_ELECTED" false
        "the change made another replica leader",
    OffsetMovedToTieredStorage = 109 "OFFSET_MOVED_TO_TIERED_STORAGE" false
        "the offset is only in tiered storage by now",
    FencedMemberEpoch = 110 "FENCED_MEMBER_EPOCH" false
        "the coordinator has fenced this member; it must give up its partitions and join again",
    UnreleasedInstanceId = 111 "UNRELEASED_INSTANCE_ID" false
        "another member that still lives holds this static instance id",
    UnsupportedAssignor = 112 "UNSUPPORTED_ASSIGNOR" false
        "the group's coordinator does not have this assignor",
    StaleMemberEpoch = 113 "STALE_MEMBER_EPOCH" false
        "the member's epoch has passed; it will learn the new one with its next heartbeat",
    MismatchedEndpointType = 114 "MISMATCHED_ENDPOINT_TYPE" false
        "the request went to a controller's listener instead of a broker's, or the other way round",
    UnsupportedEndpointType = 115 "UNSUPPORTED_ENDPOINT_TYPE" false
        "this type of endpoint is not supported",
    UnknownControllerId = 116 "UNKNOWN_CONTROLLER_ID" false
        "there is no controller with this id",
    UnknownSubscriptionId = 117 "UNKNOWN_SUBSCRIPTION_ID" false
        "the telemetry subscription has changed; ask for the present one",
    TelemetryTooLarge = 118 "TELEMETRY_TOO_LARGE" false
        "the client's metrics are larger than the broker accepts",
    InvalidRegistration = 119 "INVALID_REGISTRATION" false
        "the controller does not accept the broker's registration",
    TransactionAbortable = 120 "TRANSACTION_ABORTABLE" false
        "the transaction can only be aborted",
    InvalidRecordState = 121 "INVALID_RECORD_STATE" false
        "the record is not held by this member of the share group any more",
    ShareSessionNotFound = 122 "SHARE_SESSION_NOT_FOUND" true
        "the broker has dropped the share session; a new one is needed",
    InvalidShareSessionEpoch = 123 "INVALID_SHARE_SESSION_EPOCH" true
        "the share session is at another epoch",
    FencedStateEpoch = 124 "FENCED_STATE_EPOCH" false
        "the state of the share partition has been taken over since",
    InvalidVoterKey = 125 "INVALID_VOTER_KEY" false
        "the voter asked for is not the one that received the request",
    DuplicateVoter = 126 "DUPLICATE_VOTER" false
        "the voter is part of the quorum already",
    VoterNotFound = 127 "VOTER_NOT_FOUND" false
        "the quorum has no such voter",
    InvalidRegularExpression = 128 "INVALID_REGULAR_EXPRESSION" false
        "the regular expression is not valid",
    RebootstrapRequired = 129 "REBOOTSTRAP_REQUIRED" false
        "the client must start over from its bootstrap addresses",
    StreamsInvalidTopology = 130 "STREAMS_INVALID_TOPOLOGY" false
        "the streams topology is not valid",
    StreamsInvalidTopologyEpoch = 131 "STREAMS_INVALID_TOPOLOGY_EPOCH" false
        "the epoch of the streams topology is not valid",
    StreamsTopologyFenced = 132 "STREAMS_TOPOLOGY_FENCED" false
        "the member runs an older streams topology than its group",
    ShareSessionLimitReached = 133 "SHARE_SESSION_LIMIT_REACHED" true
        "the broker holds as many share sessions as it may",
}

impl ErrorCode {
    /// The code with that number; a number that no release has used yet is `UnknownServerError`.
    pub fn from_number(number: i16) -> ErrorCode {
        match number {
            0 => ErrorCode::None,
            _ => ErrorCode::ALL
                .iter()
                .copied()
                .find(|code| *code as i16 == number)
                .unwrap_or(ErrorCode::UnknownServerError),
        }
    }

    /// The number on the wire.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// Whether this is success.
    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_without_gaps_and_lead_back() {
        let mut numbers: Vec<i16> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (-1..=133).filter(|number| *number != 0).collect::<Vec<_>>());
        assert!(ErrorCode::ALL.iter().all(|code| ErrorCode::from_number(code.number()) == *code));
        assert_eq!(ErrorCode::from_number(0), ErrorCode::None);
        assert_eq!(ErrorCode::from_number(9999), ErrorCode::UnknownServerError);
    }

    #[test]
    fn names_are_those_of_the_variants() {
        for code in ErrorCode::ALL {
            assert_eq!(code.name().replace('_', "").to_lowercase(), format!("{code:?}").to_lowercase());
        }
    }

    #[test]
    fn every_code_says_what_it_is_about_in_its_own_half_sentence() {
        let abouts: std::collections::BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.about()).collect();
        assert_eq!(abouts.len(), ErrorCode::ALL.len());
        for about in abouts {
            assert!(
                !about.ends_with('.') && about.chars().next().is_some_and(|first| first.is_ascii_lowercase()),
                "{about}"
            );
        }
    }
}
