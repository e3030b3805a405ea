import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * A member of a group on a thread of its own: it polls until it is told to leave. As a program, {@code Member HOST:PORT
 * TOPIC GROUP PROTOCOL}, it lives until it is killed.
 */
final class Member implements ConsumerRebalanceListener {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final Thread thread;
    private final TreeSet<Integer> held = new TreeSet<>();
    private final List<String> values = new ArrayList<>();
    private volatile boolean leaving;

    Member(Map<String, Object> settings, String topic) {
        consumer = new KafkaConsumer<>(settings);
        consumer.subscribe(List.of(topic), this);
        thread = new Thread(this::live);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] arguments) throws InterruptedException {
        new Member(Client.consumerSettings(arguments[0], arguments[2], arguments[3]), arguments[1]).thread.join();
    }

    synchronized List<Integer> held() {
        return List.copyOf(held);
    }

    synchronized List<String> values() {
        return List.copyOf(values);
    }

    void leave() throws InterruptedException {
        leaving = true;
        thread.join();
    }

    private void live() {
        while (!leaving) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                synchronized (this) {
                    values.add(new String(record.value()));
                }
            }
        }
        consumer.close();
    }

    @Override
    public synchronized void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> held.add(partition.partition()));
    }

    @Override
    public synchronized void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> held.remove(partition.partition()));
    }
}
