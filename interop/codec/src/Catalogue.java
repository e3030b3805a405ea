import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.Message;

/** Every message of Kafka's that a server reads or writes, by its name. */
final class Catalogue {
    /** Those that no enum of Kafka's lists: control records, what clients tell each other, what stands inside of others, files. */
    private static final String[] OTHERS = {
        "org.apache.kafka.common.message.LeaderChangeMessage",
        "org.apache.kafka.common.message.SnapshotHeaderRecord",
        "org.apache.kafka.common.message.SnapshotFooterRecord",
        "org.apache.kafka.common.message.KRaftVersionRecord",
        "org.apache.kafka.common.message.VotersRecord",
        "org.apache.kafka.common.message.EndTxnMarker",
        "org.apache.kafka.common.message.ControlRecordTypeSchema",
        "org.apache.kafka.common.message.ConsumerProtocolAssignment",
        "org.apache.kafka.common.message.ConsumerProtocolSubscription",
        "org.apache.kafka.common.message.DefaultPrincipalData",
        "org.apache.kafka.raft.generated.QuorumStateData",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.ProducerSnapshot",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.RemoteLogSegmentMetadataRecord",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.RemoteLogSegmentMetadataUpdateRecord",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.RemoteLogSegmentMetadataSnapshotRecord",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.RemotePartitionDeleteMetadataRecord",
    };

    static Map<String, Kind> all() throws ReflectiveOperationException {
        Map<String, Kind> kinds = new TreeMap<>();
        for (ApiMessageType api : apis()) {
            add(kinds, request(api));
            add(kinds, response(api));
        }
        for (MetadataRecordType record : MetadataRecordType.values()) {
            add(kinds, Kind.of(record.newMetadataRecord().getClass()));
        }
        for (var record : org.apache.kafka.coordinator.group.generated.CoordinatorRecordType.values()) {
            add(kinds, Kind.of(record.newRecordKey().getClass()));
            add(kinds, Kind.of(record.newRecordValue().getClass()));
        }
        for (var record : org.apache.kafka.coordinator.transaction.generated.CoordinatorRecordType.values()) {
            add(kinds, Kind.of(record.newRecordKey().getClass()));
            add(kinds, Kind.of(record.newRecordValue().getClass()));
        }
        for (var record : org.apache.kafka.coordinator.share.generated.CoordinatorRecordType.values()) {
            add(kinds, Kind.of(record.newRecordKey().getClass()));
            add(kinds, Kind.of(record.newRecordValue().getClass()));
        }
        for (String name : OTHERS) {
            add(kinds, Kind.of(Class.forName(name).asSubclass(Message.class)));
        }
        return kinds;
    }

    /** The APIs that have a version left. */
    static List<ApiMessageType> apis() {
        return Stream.of(ApiMessageType.values())
            .filter(api -> api.lowestSupportedVersion() <= api.highestSupportedVersion(false)).toList();
    }

    /** The newest version of an API may be one that is not released. */
    static Kind request(ApiMessageType api) throws ReflectiveOperationException {
        return new Kind(api.newRequest().getClass(), api.highestSupportedVersion(false));
    }

    static Kind response(ApiMessageType api) throws ReflectiveOperationException {
        return new Kind(api.newResponse().getClass(), api.highestSupportedVersion(false));
    }

    private static void add(Map<String, Kind> kinds, Kind kind) {
        kinds.put(kind.name, kind);
    }
}
