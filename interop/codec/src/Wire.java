import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** Bytes in hex; as a word of a line, nothing at all is a dash. */
final class Wire {
    static String hex(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new AssertionError("Kafka's class wrote less than it had counted");
        }
        return HexFormat.of().formatHex(buffer.array());
    }

    static String word(String hex) {
        return hex.isEmpty() ? "-" : hex;
    }

    static void read(Message message, String hex, short version) {
        ByteBuffer buffer = ByteBuffer.wrap(hex.equals("-") ? new byte[0] : HexFormat.of().parseHex(hex));
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new AssertionError("Kafka's class left " + buffer.remaining() + " bytes of " + hex);
        }
    }

    /** The frame with its size before it. */
    static String sized(String frame) {
        return String.format("%08x", frame.length() / 2) + frame;
    }
}
