import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.Message;

/**
 * Kafka's own message classes against our codec: run PROGRAM, which answers as crates/protocol/examples/codec.rs says. For every
 * message at every version, what Kafka's class writes of random values is read and written by ours, and what ours makes up is
 * read and written by Kafka's: the bytes must be equal, and the values too, told in the words of Kafka's JSON converters.
 */
public final class Codec {
    /** Random messages in each direction, for each message and version. */
    private static final int VALUES = 24;
    private static final int COMPLAINTS_MAX = 20;

    private final Ours ours;
    private final Values values;
    private int passed;
    private int failed;

    private Codec(Ours ours, long seed) {
        this.ours = ours;
        this.values = new Values(seed);
    }

    public static void main(String[] arguments) throws Exception {
        long seed = arguments.length > 1 ? Long.parseLong(arguments[1]) : System.nanoTime();
        try (Ours ours = new Ours(arguments[0])) {
            Codec codec = new Codec(ours, seed);
            codec.everything();
            if (codec.failed > 0) {
                System.out.println("the seed was " + seed);
            }
            System.out.println(codec.passed + " passed, " + codec.failed + " failed");
            System.exit(codec.failed == 0 && codec.passed > 0 ? 0 : 1);
        }
    }

    private void everything() throws Exception {
        Map<String, Kind> kafkas = Catalogue.all();
        Map<String, Ours.Row> known = ours.list();
        for (Kind kind : kafkas.values()) {
            Ours.Row row = known.remove(kind.name);
            if (row == null) {
                complain(kind.name + " has no definition");
                continue;
            }
            check(kind.name + " has the versions of Kafka's", () -> equal(row.versions(), kind.oldest + "-" + kind.newest));
            for (short version = kind.oldest; version <= kind.newest; version++) {
                message(kind, version, row.isFlexible(version));
            }
            System.out.println("       " + kind.name + " " + kind.oldest + "-" + kind.newest);
        }
        known.keySet().forEach(name -> complain(name + " is no message of Kafka's"));
        for (ApiMessageType api : Catalogue.apis()) {
            headers(api, ours.list());
        }
    }

    private void message(Kind kind, short version, boolean flexible) {
        check(kind.name + " " + version, () -> {
            for (int at = 0; at < VALUES; at++) {
                Message message = at == 0 ? kind.fresh() : values.message(kind, version);
                String written = Wire.word(Wire.hex(message, version));
                equal(told(kind, ours.recode(kind.name, version, written)), written + told(kind, message, version));
                if (flexible) {
                    // What a later Kafka may add is skipped.
                    String newer = Wire.hex(values.withUnknownTag(message), version);
                    equal(told(kind, ours.recode(kind.name, version, newer)), written + told(kind, message, version));
                }

                String made = ours.make(kind.name, version, values.seed());
                Message read = kind.fresh();
                Wire.read(read, made.substring(0, made.indexOf(' ')), version);
                equal(told(kind, made), Wire.word(Wire.hex(read, version)) + told(kind, read, version));
            }
        });
    }

    /** What follows the bytes: the values, where Kafka's build made a converter for them. */
    private static String told(Kind kind, Message message, short version) throws ReflectiveOperationException {
        return kind.canTell() ? " " + kind.told(message, version) : "";
    }

    private static String told(Kind kind, String answer) {
        return kind.canTell() || answer.startsWith("error ") ? answer : answer.substring(0, answer.indexOf(' '));
    }

    /** Which header a version has; and where ours has a key for the API, whole frames with it. */
    private void headers(ApiMessageType api, Map<String, Ours.Row> known) throws Exception {
        Kind request = Catalogue.request(api);
        Kind response = Catalogue.response(api);
        boolean served = ours.serves(request.name);
        for (short at = request.oldest; at <= request.newest; at++) {
            short version = at;
            check("headers of " + request.name + " " + version, () -> {
                short asked = api.requestHeaderVersion(version);
                short answered = api.responseHeaderVersion(version);
                equal(known.get(request.name).isFlexible(version) ? 2 : 1, (int) asked);
                boolean flexible = known.get(response.name).isFlexible(version) && api != ApiMessageType.API_VERSIONS;
                equal(flexible ? 1 : 0, (int) answered);
                if (!served) {
                    return;
                }
                RequestHeaderData header = new RequestHeaderData().setRequestApiKey(api.apiKey()).setRequestApiVersion(version)
                    .setCorrelationId(values.number()).setClientId(values.text(true));
                String frame = Wire.hex(header, asked) + Wire.hex(values.message(request, version), version);
                equal(ours.request(request.name, frame), Wire.sized(frame));
                ResponseHeaderData answer = new ResponseHeaderData().setCorrelationId(values.number());
                frame = Wire.hex(answer, answered) + Wire.hex(values.message(response, version), version);
                equal(ours.response(request.name, version, frame), Wire.sized(frame));
            });
        }
    }

    private interface Check {
        void run() throws Exception;
    }

    private void check(String what, Check check) {
        try {
            check.run();
            passed++;
        } catch (Exception | AssertionError fault) {
            complain(what + ": " + fault);
        }
    }

    private void complain(String what) {
        failed++;
        if (failed <= COMPLAINTS_MAX) {
            System.out.println("FAILED " + what);
        }
    }

    private static void equal(Object ours, Object kafkas) {
        if (!ours.equals(kafkas)) {
            throw new AssertionError("\n  ours   " + ours + "\n  Kafka's " + kafkas);
        }
    }
}
