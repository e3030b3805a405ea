import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;

/**
 * A Streams application with exactly_once_v2 that lives until it is killed: {@code Application HOST:PORT NAME FOLDER
 * count|join INPUT OUTPUT [TABLE]}.
 */
public final class Application {
    public static void main(String[] arguments) throws InterruptedException {
        String input = arguments[4];
        String output = arguments[5];
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> stream = builder.stream(input);
        switch (arguments[3]) {
            // Each line's words are counted, through a repartition topic and a store with its changelog.
            case "count" -> stream
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count()
                .toStream()
                .mapValues(count -> "" + count)
                .to(output);
            // Each record takes the value of its key in a table, which is complete beforehand.
            case "join" -> {
                KTable<String, String> table = builder.table(arguments[6]);
                stream.selectKey((number, key) -> key)
                    .join(table, (key, value) -> key + "/" + value)
                    .to(output);
            }
            default -> throw new IllegalArgumentException(arguments[3]);
        }
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[2]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000);
        settings.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 500);
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 200);
        settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 10_000);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(fault -> StreamThreadExceptionResponse.REPLACE_THREAD);
        streams.start();
        while (streams.state() != KafkaStreams.State.ERROR) {
            Thread.sleep(100);
        }
        System.exit(1);
    }
}
