import java.nio.ByteBuffer;
import java.util.NavigableMap;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.NullableSchema;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.coordinator.group.generated.ConsumerGroupMemberMetadataValue;

/** Random messages: filled in by the schema of their version, then read by their class. */
final class Values {
    private static final int[] LETTERS = {'a', 'k', 'Z', '0', '-', '.', ' ', '"', '\\', '\n', 'é', '字'};
    private static final long[] NUMBERS = {0, -1, 1, Long.MAX_VALUE, Long.MIN_VALUE, Integer.MAX_VALUE, Integer.MIN_VALUE};

    private final Random random;

    Values(long seed) {
        random = new Random(seed);
    }

    Message message(Kind kind, short version) throws ReflectiveOperationException {
        Schema schema = kind.schema(version);
        Struct struct = struct(schema);
        ByteBuffer buffer = ByteBuffer.allocate(schema.sizeOf(struct));
        schema.write(buffer, struct);
        buffer.flip();
        Message message = kind.fresh();
        message.read(new ByteBufferAccessor(buffer), version);
        if (message instanceof ConsumerGroupMemberMetadataValue value && oneIn(3)) {
            // The schema would mark the null of this one tagged struct otherwise than the class does.
            value.setClassicMemberMetadata(null);
        }
        return message;
    }

    /** The message with a tagged field that no version has. */
    Message withUnknownTag(Message message) {
        Message newer = message.duplicate();
        newer.unknownTaggedFields().add(new RawTaggedField(1000 + random.nextInt(1000), bytes()));
        return newer;
    }

    long seed() {
        return random.nextLong();
    }

    int number() {
        return random.nextInt();
    }

    String text(boolean nullable) {
        if (nullable && oneIn(3)) {
            return null;
        }
        StringBuilder text = new StringBuilder();
        for (int left = size(); left > 0; left--) {
            text.appendCodePoint(LETTERS[random.nextInt(LETTERS.length)]);
        }
        return text.toString();
    }

    private Struct struct(Schema schema) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            struct.set(field, value(field.def.type));
        }
        return struct;
    }

    private Object value(Type type) {
        if (type.isNullable() && oneIn(3)) {
            return null;
        }
        if (type instanceof TaggedFields tagged) {
            return tagged(tagged);
        }
        if (type instanceof Schema schema) {
            return struct(schema);
        }
        if (type instanceof ArrayOf || type instanceof CompactArrayOf) {
            Object[] elements = new Object[random.nextInt(4)];
            for (int at = 0; at < elements.length; at++) {
                elements[at] = value(type.arrayElementType().get());
            }
            return elements;
        }
        return primitive(type.toString());
    }

    private Object primitive(String type) {
        return switch (type.replace("COMPACT_", "").replace("NULLABLE_", "")) {
            case "BOOLEAN" -> random.nextBoolean();
            case "INT8" -> (byte) whole();
            case "INT16" -> (short) whole();
            case "UINT16" -> (int) whole() & 0xffff;
            case "INT32" -> (int) whole();
            case "UINT32" -> whole() & 0xffffffffL;
            case "INT64" -> whole();
            // Of the size that Java and Rust write alike.
            case "FLOAT64" -> (random.nextInt(8000) - 4000) / 8.0;
            case "UUID" -> oneIn(5) ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            case "STRING" -> text(false);
            case "BYTES" -> ByteBuffer.wrap(bytes());
            case "RECORDS" -> MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
            default -> throw new AssertionError("no values for " + type);
        };
    }

    private NavigableMap<Integer, Object> tagged(TaggedFields type) {
        NavigableMap<Integer, Object> fields = new TreeMap<>();
        for (var entry : type.fields().entrySet()) {
            Field field = entry.getValue();
            if (oneIn(3)) {
                continue;
            }
            Object value = field.type instanceof NullableSchema schema ? struct(schema) : value(field.type);
            fields.put(entry.getKey(), value);
        }
        return fields;
    }

    private long whole() {
        return switch (random.nextInt(4)) {
            case 0 -> NUMBERS[random.nextInt(NUMBERS.length)];
            case 1 -> random.nextInt(100);
            default -> random.nextLong();
        };
    }

    private byte[] bytes() {
        byte[] bytes = new byte[size()];
        random.nextBytes(bytes);
        return bytes;
    }

    /** Long enough, now and then, for a length of two bytes. */
    private int size() {
        return oneIn(12) ? 120 + random.nextInt(20) : random.nextInt(9);
    }

    private boolean oneIn(int times) {
        return random.nextInt(times) == 0;
    }
}
