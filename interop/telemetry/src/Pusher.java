import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A producer and a consumer of Apache Kafka's Java client that push their metrics: {@code Pusher HOST:PORT TOPIC NAME RECORDS}. Writes the
 * ids that they were given, polls on until a line comes on stdin, and closes both.
 */
public final class Pusher {
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String topic = arguments[1];
        String name = arguments[2];
        int records = Integer.parseInt(arguments[3]);
        Map<String, Object> producing =
                Map.of("bootstrap.servers", bootstrap, "client.id", name + "-producer", "enable.metrics.push", true);
        Map<String, Object> consuming = Map.of(
                "bootstrap.servers", bootstrap,
                "client.id", name + "-consumer",
                "group.id", name,
                "auto.offset.reset", "earliest",
                "enable.metrics.push", true);
        try (KafkaProducer<String, String> producer =
                        new KafkaProducer<>(producing, new StringSerializer(), new StringSerializer());
                KafkaConsumer<String, String> consumer =
                        new KafkaConsumer<>(consuming, new StringDeserializer(), new StringDeserializer())) {
            for (int number = 0; number < records; number++) {
                producer.send(new ProducerRecord<>(topic, "record " + number)).get();
            }
            System.out.println("producer " + producer.clientInstanceId(PATIENCE));
            consumer.subscribe(List.of(topic));
            for (int read = 0; read < records; ) {
                read += consumer.poll(Duration.ofMillis(100)).count();
            }
            System.out.println("consumer " + consumer.clientInstanceId(PATIENCE));
            while (System.in.available() == 0) {
                consumer.poll(Duration.ofMillis(100));
            }
        }
    }
}
