import java.lang.reflect.Method;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.Schema;

/** A message of Kafka's: its class, and what the build made beside it. */
final class Kind {
    final String name;
    final short oldest;
    final short newest;
    private final Class<? extends Message> type;
    private final Schema[] schemas;
    /** Kafka's own way to tell a message as JSON; a few have none. */
    private final Method converter;

    Kind(Class<? extends Message> type, int newest) throws ReflectiveOperationException {
        this.type = type;
        this.name = type.getSimpleName().replaceAll("(Request|Response)Data$", "$1");
        this.oldest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
        this.newest = (short) newest;
        this.schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        this.converter = converter();
    }

    static Kind of(Class<? extends Message> type) throws ReflectiveOperationException {
        return new Kind(type, type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null));
    }

    private Method converter() throws NoSuchMethodException {
        try {
            Class<?> beside = Class.forName(type.getName() + "JsonConverter");
            return beside.getMethod("write", type, short.class, boolean.class);
        } catch (ClassNotFoundException absent) {
            return null;
        }
    }

    Schema schema(short version) {
        return schemas[version];
    }

    Message fresh() throws ReflectiveOperationException {
        return type.getConstructor().newInstance();
    }

    boolean canTell() {
        return converter != null;
    }

    String told(Message message, short version) throws ReflectiveOperationException {
        return converter.invoke(null, message, version, false).toString();
    }
}
