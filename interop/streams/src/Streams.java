import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Apache Kafka Streams with exactly_once_v2, unchanged: {@code Streams HOST:PORT RECORDS}. While applications work, they, or
 * the broker below them, are killed and started again; what a reader of committed records gets must be exact.
 */
public final class Streams {
    private static final int PARTITIONS = 2;
    private static final int KILLS = 3;
    private static final int WORDS = 50;

    /** Who is killed while an application works. */
    private enum Victim {
        APPLICATION("the application is"), BROKER("the broker is"), BOTH("both are");

        private final String are;

        Victim(String are) {
            this.are = are;
        }
    }

    private final String bootstrap;
    private final int records;
    private final Admin admin;

    private Streams(String bootstrap, int records) {
        this.bootstrap = bootstrap;
        this.records = records;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) {
        Streams client = new Streams(arguments[0], Integer.parseInt(arguments[1]));
        Checks checks = new Checks();
        for (Victim victim : Victim.values()) {
            // A broker that was not started for this run must not be killed, and cannot be.
            if (victim != Victim.APPLICATION && System.getenv("BROKER_MAY_BE_KILLED") == null) {
                continue;
            }
            String killed = ", though " + victim.are + " killed";
            checks.add("words are counted exactly, each count once" + killed, () -> client.wordCount(victim));
            checks.add("a stream and a table are joined exactly, each record once" + killed, () -> client.join(victim));
        }
        checks.run();
    }

    private String create(String word) throws Exception {
        String topic = Checks.fresh(word);
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
        Checks.eventually("topic " + topic + " is known", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    private KafkaProducer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5,
            "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class));
    }

    /** The word that stands at a place of the text. */
    private static String word(int place) {
        return "word-" + place * 7919 % WORDS;
    }

    private void wordCount(Victim victim) throws Exception {
        String input = create("lines");
        String output = create("counts");
        Map<String, Integer> expected = new TreeMap<>();
        try (KafkaProducer<String, String> producer = producer()) {
            for (int number = 0; number < records; number++) {
                String line = word(2 * number) + " " + word(2 * number + 1);
                producer.send(new ProducerRecord<>(input, number % PARTITIONS, "" + number, line));
                for (String word : line.split(" ")) {
                    expected.merge(word, 1, Integer::sum);
                }
            }
        }
        Map<String, List<Integer>> counts = new TreeMap<>();
        run(victim, "count", input, output, null, 2 * records, record ->
            counts.computeIfAbsent(record.key(), word -> new ArrayList<>()).add(Integer.parseInt(record.value())));
        // Without a cache each count appears once, in order: a record that was counted twice or not at all leaves a trace.
        expected.forEach((word, count) ->
            Checks.equal(counts.get(word), IntStream.rangeClosed(1, count).boxed().toList(), "counts of " + word));
        Checks.equal(counts.keySet(), expected.keySet(), "words");
    }

    private void join(Victim victim) throws Exception {
        String input = create("stream");
        String output = create("joined");
        String table = create("table");
        Map<String, Integer> expected = new TreeMap<>();
        long hourAgo = System.currentTimeMillis() - 3_600_000;
        try (KafkaProducer<String, String> producer = producer()) {
            for (int key = 0; key < WORDS; key++) {
                // Older timestamps than the stream's: the table is read first. Not so old that retention takes them away.
                producer.send(new ProducerRecord<>(table, null, hourAgo, "word-" + key, "value-" + key));
            }
            for (int number = 0; number < records; number++) {
                producer.send(new ProducerRecord<>(input, number % PARTITIONS, "" + number, word(number)));
                expected.merge(word(number) + "/" + word(number).replace("word", "value"), 1, Integer::sum);
            }
        }
        Map<String, Integer> found = new TreeMap<>();
        run(victim, "join", input, output, table, records, record -> found.merge(record.value(), 1, Integer::sum) > 0);
        Checks.equal(found, expected, "joined values, with how often each is there");
    }

    /** Runs an application, kills at every further quarter of the output, and reads exactly {@code count} records. */
    private void run(Victim victim, String what, String input, String output, String table, int count,
                     Predicate<ConsumerRecord<String, String>> take) throws Exception {
        Path folder = Files.createTempDirectory("streams");
        String name = Checks.fresh(what);
        Process application = start(name, folder, what, input, output, table);
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
            "auto.offset.reset", "earliest", "key.deserializer", StringDeserializer.class,
            "value.deserializer", StringDeserializer.class));
        int read = 0;
        int killed = 0;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(IntStream.range(0, PARTITIONS).mapToObj(number -> new TopicPartition(output, number)).toList());
            long heard = System.nanoTime();
            while (read < count || System.nanoTime() - heard < 2_000_000_000L) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(50))) {
                    take.test(record);
                    read++;
                    heard = System.nanoTime();
                }
                if (killed < KILLS && read >= (long) count * (killed + 1) / (KILLS + 1) && read < count) {
                    if (victim != Victim.APPLICATION) {
                        // Whoever started this process reads along, and does it while we and the application go on.
                        System.out.println("kill the broker");
                    }
                    if (victim != Victim.BROKER) {
                        application.destroyForcibly().waitFor();
                        application = start(name, folder, what, input, output, table);
                    }
                    killed++;
                }
                if (!application.isAlive()) {
                    throw new AssertionError("the application ended by itself with " + application.exitValue());
                }
                if (System.nanoTime() - heard > 90_000_000_000L) {
                    throw new AssertionError("only " + read + " of " + count + " records after " + killed + " kills");
                }
            }
        } finally {
            application.destroyForcibly().waitFor();
            try (var files = Files.walk(folder)) {
                files.sorted((one, other) -> other.compareTo(one)).map(Path::toFile).forEach(File::delete);
            }
        }
        Checks.equal(read, count, "records of the output");
        Checks.equal(killed, KILLS, "kills; more records give more time for them");
    }

    private Process start(String name, Path folder, String what, String input, String output, String table) throws Exception {
        String java = System.getProperty("java.home") + File.separator + "bin" + File.separator + "java";
        List<String> command = new ArrayList<>(List.of(java, "-Xmx256m", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", System.getProperty("java.class.path"),
            "Application", bootstrap, name, folder.toString(), what, input, output));
        if (table != null) {
            command.add(table);
        }
        return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    }
}
