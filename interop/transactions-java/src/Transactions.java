import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTxnTimeoutException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions of Apache Kafka's Java client, unchanged: {@code Transactions HOST:PORT}. */
public final class Transactions {
    private final String bootstrap;
    private final Admin admin;

    private Transactions(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) {
        Transactions client = new Transactions(arguments[0]);
        Checks checks = new Checks();
        checks.add("a committed transaction is read whole, an aborted one not at all", client::commitAndAbort);
        checks.add("an open transaction holds readers of committed records back", client::openHoldsBack);
        checks.add("a hundred transactions in a row keep their order", client::manyInARow);
        checks.add("transactions side by side are told apart", client::sideBySide);
        checks.add("an empty transaction leaves no trace", client::empty);
        checks.add("offsets move with the commit and stay with the abort", client::offsets);
        checks.add("offsets of a member that was left behind are refused", client::leftBehind);
        checks.add("a newer producer fences the older one and aborts its transaction", client::fencing);
        checks.add("a producer goes on after an abortable error", client::abortable);
        checks.add("a transaction that takes too long is aborted", client::timeout);
        checks.add("a timeout above the broker's limit is refused", client::timeoutTooLong);
        checks.add("transactions and producers are listed and described", client::described);
        checks.add("an administrator fences producers", client::fencedByAdmin);
        checks.run();
    }

    private String create(int partitions) throws Exception {
        String topic = Checks.fresh("transactions");
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        Checks.eventually("topic " + topic + " is known", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    private KafkaProducer<String, String> producer(String id, Map<String, Object> extra) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("transactional.id", id);
        settings.put("key.serializer", StringSerializer.class);
        settings.put("value.serializer", StringSerializer.class);
        settings.putAll(extra);
        KafkaProducer<String, String> producer = new KafkaProducer<>(settings);
        producer.initTransactions();
        return producer;
    }

    private KafkaProducer<String, String> producer(String id) {
        return producer(id, Map.of());
    }

    private KafkaConsumer<String, String> consumer(String isolation, String group) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("isolation.level", isolation);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        return new KafkaConsumer<>(settings);
    }

    private static List<TopicPartition> parts(String topic, int partitions) {
        return IntStream.range(0, partitions).mapToObj(number -> new TopicPartition(topic, number)).toList();
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int partitions, int from, int to) {
        for (int number = from; number < to; number++) {
            producer.send(new ProducerRecord<>(topic, number % partitions, "", "" + number));
        }
    }

    /** The values of exactly {@code count} records, in the order of reading; one more is a fault, too. */
    private List<String> read(String isolation, String topic, int partitions, int count) throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer(isolation, Checks.fresh("reader"))) {
            consumer.assign(parts(topic, partitions));
            List<String> values = new ArrayList<>();
            Checks.eventually(count + " records", () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
                return values.size() >= count;
            });
            consumer.poll(Duration.ofMillis(300)).forEach(record -> values.add(record.value()));
            Checks.equal(values.size(), count, "records read with " + isolation);
            return values;
        }
    }

    private static Set<String> numbers(int from, int to) {
        return new HashSet<>(IntStream.range(from, to).mapToObj(Integer::toString).toList());
    }

    private void commitAndAbort() throws Exception {
        String topic = create(3);
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"))) {
            producer.beginTransaction();
            send(producer, topic, 3, 0, 300);
            producer.commitTransaction();
            producer.beginTransaction();
            send(producer, topic, 3, 300, 600);
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 3, 600, 900);
            producer.commitTransaction();
        }
        Set<String> committed = numbers(0, 300);
        committed.addAll(numbers(600, 900));
        Checks.equal(new HashSet<>(read("read_committed", topic, 3, 600)), committed, "committed values");
        Checks.equal(new HashSet<>(read("read_uncommitted", topic, 3, 900)), numbers(0, 900), "all values");
    }

    private void openHoldsBack() throws Exception {
        String topic = create(1);
        TopicPartition part = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> open = producer(Checks.fresh("open"));
             KafkaProducer<String, String> other = producer(Checks.fresh("other"));
             KafkaConsumer<String, String> committed = consumer("read_committed", "ends");
             KafkaConsumer<String, String> everything = consumer("read_uncommitted", "ends")) {
            open.beginTransaction();
            send(open, topic, 1, 0, 1);
            open.flush();
            other.beginTransaction();
            send(other, topic, 1, 1, 2);
            other.commitTransaction();
            // A commit is answered once it is decided; its marker follows.
            Checks.eventually("two records and the marker of the second", () ->
                everything.endOffsets(List.of(part)).get(part) == 3);
            Checks.equal(committed.endOffsets(List.of(part)), Map.of(part, 0L), "end of committed records");
            read("read_committed", topic, 1, 0);
            Checks.equal(read("read_uncommitted", topic, 1, 2), List.of("0", "1"), "all values");
            open.commitTransaction();
            Checks.equal(read("read_committed", topic, 1, 2), List.of("0", "1"), "values in the order of their offsets");
            Checks.equal(committed.endOffsets(List.of(part)), Map.of(part, 4L), "end of committed records, after the commit");
        }
    }

    private void manyInARow() throws Exception {
        String topic = create(1);
        List<String> expected = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"))) {
            for (int number = 0; number < 100; number++) {
                producer.beginTransaction();
                send(producer, topic, 1, number, number + 1);
                // The client asks whether records wait before it looks for the next request (Sender, 4.3.1): one that is sent and
                // committed in between would be overtaken by its own EndTxn, a commit of nothing, which any broker refuses.
                producer.flush();
                if (number % 7 == 3) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                    expected.add("" + number);
                }
            }
        }
        Checks.equal(read("read_committed", topic, 1, expected.size()), expected, "values in order");
    }

    private void sideBySide() throws Exception {
        String topic = create(2);
        List<KafkaProducer<String, String>> producers = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            producers.add(producer(Checks.fresh("id")));
            producers.get(number).beginTransaction();
        }
        for (int number = 0; number < 500; number++) {
            send(producers.get(number % 5), topic, 2, number, number + 1);
        }
        producers.forEach(KafkaProducer::flush);
        for (int number = 4; number >= 0; number--) {
            if (number % 2 == 0) {
                producers.get(number).commitTransaction();
            } else {
                producers.get(number).abortTransaction();
            }
        }
        producers.forEach(KafkaProducer::close);
        Set<String> expected = numbers(0, 500);
        expected.removeIf(value -> Integer.parseInt(value) % 5 % 2 != 0);
        Checks.equal(new HashSet<>(read("read_committed", topic, 2, 300)), expected, "values of three of five producers");
    }

    private void empty() throws Exception {
        String topic = create(1);
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"))) {
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 1, 0, 1);
            producer.commitTransaction();
        }
        Checks.equal(read("read_committed", topic, 1, 1), List.of("0"), "values");
    }

    private void offsets() throws Exception {
        String topic = create(1);
        String group = Checks.fresh("group");
        TopicPartition part = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"));
             KafkaConsumer<String, String> consumer = consumer("read_committed", group)) {
            producer.beginTransaction();
            send(producer, topic, 1, 0, 10);
            producer.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(4, "note")), new ConsumerGroupMetadata(group));
            producer.commitTransaction();
            OffsetAndMetadata found = consumer.committed(Set.of(part)).get(part);
            Checks.equal(List.of(found.offset(), found.metadata()), List.of(4L, "note"), "offset after the commit");
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(9)), new ConsumerGroupMetadata(group));
            producer.abortTransaction();
            Checks.equal(consumer.committed(Set.of(part)).get(part).offset(), 4L, "offset after the abort");
        }
    }

    private void leftBehind() throws Exception {
        String topic = create(1);
        String group = Checks.fresh("group");
        TopicPartition part = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"));
             KafkaConsumer<String, String> consumer = consumer("read_committed", group)) {
            consumer.subscribe(List.of(topic));
            Checks.eventually("membership", () -> {
                consumer.poll(Duration.ofMillis(100));
                return !consumer.assignment().isEmpty();
            });
            // Its own question for a committed offset is answered before: this client would take that answer for a later one.
            consumer.position(part);
            ConsumerGroupMetadata present = consumer.groupMetadata();
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(1)), present);
            producer.commitTransaction();
            List<ConsumerGroupMetadata> strangers = List.of(
                new ConsumerGroupMetadata(group, present.generationId() - 1, present.memberId(), present.groupInstanceId()),
                new ConsumerGroupMetadata(group, present.generationId(), "stranger", present.groupInstanceId()));
            for (ConsumerGroupMetadata stranger : strangers) {
                producer.beginTransaction();
                Checks.refused(CommitFailedException.class, () ->
                    producer.sendOffsetsToTransaction(Map.of(part, new OffsetAndMetadata(2)), stranger));
                producer.abortTransaction();
            }
            Checks.equal(consumer.committed(Set.of(part)).get(part).offset(), 1L, "the member's own offset");
        }
    }

    private void fencing() throws Exception {
        String topic = create(1);
        String id = Checks.fresh("id");
        try (KafkaProducer<String, String> older = producer(id)) {
            older.beginTransaction();
            send(older, topic, 1, 0, 1);
            older.flush();
            try (KafkaProducer<String, String> newer = producer(id)) {
                newer.beginTransaction();
                send(newer, topic, 1, 1, 2);
                newer.commitTransaction();
                // The leader tells the older one, or its coordinator does.
                Checks.refused(KafkaException.class, () -> {
                    send(older, topic, 1, 2, 3);
                    older.commitTransaction();
                });
                Checks.refused(ProducerFencedException.class, older::abortTransaction);
                newer.beginTransaction();
                send(newer, topic, 1, 3, 4);
                newer.commitTransaction();
            }
        }
        Checks.equal(read("read_committed", topic, 1, 2), List.of("1", "3"), "values of the newer producer");
    }

    private void abortable() throws Exception {
        String topic = create(1);
        Map<String, Object> large = Map.of("max.request.size", 3_000_000, "buffer.memory", 64_000_000L);
        try (KafkaProducer<String, String> producer = producer(Checks.fresh("id"), large)) {
            producer.beginTransaction();
            send(producer, topic, 1, 0, 1);
            Checks.refused(RecordTooLargeException.class, () ->
                producer.send(new ProducerRecord<>(topic, 0, "", "x".repeat(1_500_000))).get());
            Checks.refused(KafkaException.class, producer::commitTransaction);
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 1, 1, 2);
            producer.commitTransaction();
        }
        Checks.equal(read("read_committed", topic, 1, 1), List.of("1"), "values");
    }

    private void timeout() throws Exception {
        String topic = create(1);
        String id = Checks.fresh("id");
        try (KafkaProducer<String, String> slow = producer(id, Map.of("transaction.timeout.ms", 1000))) {
            slow.beginTransaction();
            send(slow, topic, 1, 0, 1);
            slow.flush();
            // A coordinator looks every ten seconds.
            Checks.eventually("the coordinator aborts", () ->
                admin.describeTransactions(List.of(id)).description(id).get().state() == TransactionState.COMPLETE_ABORT);
            Checks.refused(KafkaException.class, () -> {
                send(slow, topic, 1, 1, 2);
                slow.commitTransaction();
            });
        }
        try (KafkaProducer<String, String> next = producer(id)) {
            next.beginTransaction();
            send(next, topic, 1, 2, 3);
            next.commitTransaction();
        }
        Checks.equal(read("read_committed", topic, 1, 1), List.of("2"), "values");
    }

    private void timeoutTooLong() throws Exception {
        // The client tells it as an unexpected error, with the broker's in its words.
        try {
            producer(Checks.fresh("id"), Map.of("transaction.timeout.ms", 3_600_000)).close();
        } catch (KafkaException refusal) {
            boolean told = refusal instanceof InvalidTxnTimeoutException || refusal.getMessage().contains("timeout");
            Checks.equal(told, true, "the refusal is about the timeout: " + refusal);
            return;
        }
        throw new AssertionError("not refused");
    }

    private void described() throws Exception {
        String topic = create(2);
        String id = Checks.fresh("described");
        try (KafkaProducer<String, String> producer = producer(id)) {
            producer.beginTransaction();
            send(producer, topic, 2, 0, 10);
            producer.flush();
            TransactionDescription open = admin.describeTransactions(List.of(id)).description(id).get();
            Checks.equal(open.state(), TransactionState.ONGOING, "state");
            Checks.equal(open.topicPartitions(), new HashSet<>(parts(topic, 2)), "partitions");
            Checks.equal(open.transactionTimeoutMs(), 60_000L, "timeout");
            long started = open.transactionStartTimeMs().getAsLong();
            Checks.equal(Math.abs(System.currentTimeMillis() - started) < 60_000, true, "it began just now: " + started);
            TransactionListing listed = listed(new ListTransactionsOptions(), id);
            Checks.equal(listed.state(), TransactionState.ONGOING, "state in the list");
            Checks.equal(listed.producerId(), open.producerId(), "producer in the list");
            TransactionState other = TransactionState.COMPLETE_COMMIT;
            Checks.equal(listed(new ListTransactionsOptions().filterStates(Set.of(other)), id), null, "listed by another state");
            Checks.equal(listed(new ListTransactionsOptions().filterProducerIds(Set.of(-5L)), id), null, "listed by another id");
            Checks.equal(listed(new ListTransactionsOptions().filterOnDuration(60_000), id), null, "listed as long");
            Checks.equal(listed(new ListTransactionsOptions().filterOnTransactionalIdPattern("described-.*"), id) != null, true, "by pattern");
            Checks.equal(listed(new ListTransactionsOptions().filterOnTransactionalIdPattern("described"), id), null, "by half a pattern");
            for (TopicPartition part : parts(topic, 2)) {
                List<ProducerState> states = admin.describeProducers(List.of(part)).partitionResult(part).get().activeProducers();
                Checks.equal(states.size(), 1, "producers of " + part);
                Checks.equal(states.get(0).producerId(), open.producerId(), "producer of " + part);
                Checks.equal(states.get(0).currentTransactionStartOffset().getAsLong(), 0L, "where it began in " + part);
                Checks.equal(states.get(0).lastSequence(), 4, "last sequence in " + part);
            }
            producer.commitTransaction();
            TransactionDescription done = admin.describeTransactions(List.of(id)).description(id).get();
            Checks.equal(Set.of(TransactionState.COMPLETE_COMMIT, TransactionState.PREPARE_COMMIT).contains(done.state()), true, "" + done);
            Checks.eventually("the commit is complete", () ->
                admin.describeTransactions(List.of(id)).description(id).get().state() == TransactionState.COMPLETE_COMMIT);
        }
        Checks.refused(TransactionalIdNotFoundException.class, () -> admin.describeTransactions(List.of("absent")).description("absent").get());
    }

    private TransactionListing listed(ListTransactionsOptions options, String id) throws Exception {
        return admin.listTransactions(options).all().get().stream()
            .filter(listing -> listing.transactionalId().equals(id)).findFirst().orElse(null);
    }

    private void fencedByAdmin() throws Exception {
        String topic = create(1);
        String id = Checks.fresh("id");
        try (KafkaProducer<String, String> producer = producer(id)) {
            producer.beginTransaction();
            send(producer, topic, 1, 0, 1);
            producer.flush();
            admin.fenceProducers(List.of(id)).all().get();
            Checks.refused(KafkaException.class, () -> {
                send(producer, topic, 1, 1, 2);
                producer.commitTransaction();
            });
        }
        read("read_committed", topic, 1, 0);
        try (KafkaProducer<String, String> next = producer(id)) {
            next.beginTransaction();
            send(next, topic, 1, 2, 3);
            next.commitTransaction();
        }
        Checks.equal(read("read_committed", topic, 1, 1), List.of("2"), "values");
    }
}
