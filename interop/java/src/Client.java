import java.io.File;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's Java client, unchanged: {@code Client HOST:PORT}. */
public final class Client {
    private static final int PARTITIONS = 3;
    private static final long BASE_TIME = 1_700_000_000_000L;
    private final String bootstrap;
    private final Admin admin;

    private Client(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) {
        Client client = new Client(arguments[0]);
        Checks checks = new Checks();
        checks.add("a created topic is described with its partitions", client::createdTopicIsDescribed);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            checks.add("three thousand records with " + codec + " come back as they were sent", () -> client.records(codec));
        }
        checks.add("nulls and empty values are told apart", client::nulls);
        checks.add("an idempotent producer writes everything once and in order", client::order);
        checks.add("a large record is kept and a too large one refused", client::sizes);
        checks.add("offsets are found by end and by time", client::offsets);
        checks.add("an offset out of range is refused", client::outOfRange);
        checks.add("a group goes on where it committed", () -> client.groupGoesOn("classic"));
        for (Class<?> assignor : List.of(
                RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            checks.add("members share, join and leave a group with " + assignor.getSimpleName(), 
                () -> client.rebalance("classic", "partition.assignment.strategy", assignor.getName()));
        }
        checks.add("a killed member loses its partitions", () -> client.killedMember("classic"));
        checks.add("a static member keeps its partitions and fences its double", client::staticMember);
        checks.add("groups are listed, described, reset and deleted", () -> client.groups("classic"));
        checks.add("a group of the new protocol goes on where it committed", () -> client.groupGoesOn("consumer"));
        for (String assignor : List.of("uniform", "range")) {
            checks.add("members share, join and leave a group with the broker's " + assignor,
                () -> client.rebalance("consumer", "group.remote.assignor", assignor));
        }
        checks.add("a killed member of the new protocol loses its partitions", () -> client.killedMember("consumer"));
        checks.add("a static member of the new protocol keeps its partitions, and its double stays out", client::newStaticMember);
        checks.add("groups of the new protocol are listed, described, reset and deleted", () -> client.groups("consumer"));
        checks.add("an expression finds topics that come later", client::expression);
        checks.add("members of both protocols share a group, until the last of either is gone", client::bothProtocols);
        checks.add("records before an offset can be deleted", client::deleteRecords);
        checks.add("partitions can be added", client::addPartitions);
        checks.add("settings of a topic can be changed", client::settings);
        checks.add("settings of a broker are described", client::brokerSettings);
        checks.add("bad topics are refused", client::badTopics);
        checks.add("a deleted topic is gone", client::deleteTopic);
        checks.run();
    }

    static Map<String, Object> consumerSettings(String bootstrap, String group, String protocol) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("group.protocol", protocol);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        if (protocol.equals("classic")) {
            settings.put("session.timeout.ms", 6000);
            settings.put("heartbeat.interval.ms", 500);
        }
        settings.put("check.crcs", true);
        settings.put("key.deserializer", ByteArrayDeserializer.class);
        settings.put("value.deserializer", ByteArrayDeserializer.class);
        return settings;
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group) {
        return consumer(group, "classic");
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, String protocol) {
        return new KafkaConsumer<>(consumerSettings(bootstrap, group, protocol));
    }

    private String create(int partitions, Map<String, String> configs) throws Exception {
        String topic = Checks.fresh("java");
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        Checks.eventually("topic " + topic + " is known", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    private String create(int partitions) throws Exception {
        return create(partitions, Map.of());
    }

    private List<RecordMetadata> produce(List<ProducerRecord<byte[], byte[]>> records, Map<String, Object> extra) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("linger.ms", 5);
        settings.put("key.serializer", ByteArraySerializer.class);
        settings.put("value.serializer", ByteArraySerializer.class);
        settings.putAll(extra);
        List<RecordMetadata> places = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            List<Future<RecordMetadata>> futures = new ArrayList<>();
            records.forEach(record -> futures.add(producer.send(record)));
            for (Future<RecordMetadata> future : futures) {
                places.add(future.get());
            }
        }
        return places;
    }

    private void produceNumbers(String topic, int partitions, int from, int to) throws Exception {
        produce(IntStream.range(from, to)
            .mapToObj(number -> new ProducerRecord<>(topic, number % partitions, new byte[0], bytes(number)))
            .collect(Collectors.toList()), Map.of());
    }

    private static byte[] bytes(Object text) {
        return text.toString().getBytes();
    }

    /** Exactly {@code count} records; one more is a fault, too. */
    private static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        Checks.eventually(count + " records", () -> {
            consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            return records.size() >= count;
        });
        consumer.poll(Duration.ofMillis(300)).forEach(records::add);
        Checks.equal(records.size(), count, "records read");
        return records;
    }

    private List<ConsumerRecord<byte[], byte[]>> readTopic(String topic, int partitions, int count) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Checks.fresh("reader"))) {
            consumer.assign(parts(topic, partitions));
            return read(consumer, count);
        }
    }

    private static List<TopicPartition> parts(String topic, int partitions) {
        return IntStream.range(0, partitions).mapToObj(number -> new TopicPartition(topic, number)).toList();
    }

    private void createdTopicIsDescribed() throws Exception {
        String topic = create(PARTITIONS);
        TopicDescription found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        Checks.equal(found.partitions().size(), PARTITIONS, "partitions");
        int node = admin.describeCluster().controller().get().id();
        found.partitions().forEach(partition -> {
            Checks.equal(partition.leader().id(), node, "leader");
            Checks.equal(partition.isr().size(), 1, "in-sync replicas");
        });
        Checks.equal(admin.describeCluster().clusterId().get().length(), 22, "length of the cluster's id");
    }

    private void records(String codec) throws Exception {
        String topic = create(PARTITIONS);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int number = 0; number < 3000; number++) {
            byte[] value = bytes(("value " + number + " ").repeat(20));
            sent.add(new ProducerRecord<>(topic, number % PARTITIONS, BASE_TIME + number, bytes("key " + number), value,
                List.of(new RecordHeader("n", bytes(number)), new RecordHeader("empty", new byte[0]))));
        }
        List<RecordMetadata> places = produce(sent, Map.of("compression.type", codec));
        Map<String, ConsumerRecord<byte[], byte[]>> found = new HashMap<>();
        long[] next = new long[PARTITIONS];
        for (ConsumerRecord<byte[], byte[]> record : readTopic(topic, PARTITIONS, sent.size())) {
            Checks.equal(record.offset(), next[record.partition()]++, "offset in the order of partition " + record.partition());
            found.put(record.partition() + "/" + record.offset(), record);
        }
        for (int number = 0; number < sent.size(); number++) {
            RecordMetadata place = places.get(number);
            Checks.equal(place.offset(), (long) number / PARTITIONS, "acknowledged offset");
            ConsumerRecord<byte[], byte[]> record = found.get(place.partition() + "/" + place.offset());
            Checks.equal(record.key(), sent.get(number).key(), "key");
            Checks.equal(record.value(), sent.get(number).value(), "value");
            Checks.equal(record.timestamp(), BASE_TIME + number, "timestamp");
            Checks.equal(record.headers().toArray(), sent.get(number).headers().toArray(), "headers");
        }
    }

    private void nulls() throws Exception {
        String topic = create(1);
        produce(List.of(new ProducerRecord<>(topic, 0, null, null), new ProducerRecord<>(topic, 0, new byte[0], new byte[0])), Map.of());
        List<ConsumerRecord<byte[], byte[]>> found = readTopic(topic, 1, 2);
        Checks.equal(found.get(0).value(), null, "null");
        Checks.equal(found.get(0).key(), null, "null key");
        Checks.equal(found.get(1).value(), new byte[0], "empty");
    }

    private void order() throws Exception {
        String topic = create(1);
        List<ProducerRecord<byte[], byte[]>> sent = IntStream.range(0, 20_000)
            .mapToObj(number -> new ProducerRecord<byte[], byte[]>(topic, bytes(number)))
            .collect(Collectors.toList());
        produce(sent, Map.of("batch.size", 1000, "enable.idempotence", true));
        List<ConsumerRecord<byte[], byte[]>> found = readTopic(topic, 1, sent.size());
        for (int number = 0; number < found.size(); number++) {
            Checks.equal(new String(found.get(number).value()), "" + number, "value at offset " + number);
        }
    }

    private void sizes() throws Exception {
        String topic = create(1);
        byte[] large = new byte[900_000];
        new Random(1).nextBytes(large);
        produce(List.of(new ProducerRecord<>(topic, large)), Map.of());
        Checks.refused(RecordTooLargeException.class, () ->
            produce(List.of(new ProducerRecord<>(topic, new byte[1_500_000])), Map.of("max.request.size", 3_000_000)));
        Checks.equal(readTopic(topic, 1, 1).get(0).value(), large, "the large record");
    }

    private void offsets() throws Exception {
        String topic = create(1);
        produce(IntStream.range(0, 100)
            .mapToObj(number -> new ProducerRecord<byte[], byte[]>(topic, 0, BASE_TIME + 10L * number, null, bytes(number)))
            .collect(Collectors.toList()), Map.of());
        TopicPartition part = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer("offsets")) {
            Checks.equal(consumer.beginningOffsets(List.of(part)), Map.of(part, 0L), "first offset");
            Checks.equal(consumer.endOffsets(List.of(part)), Map.of(part, 100L), "next offset");
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(part, BASE_TIME + 495)).get(part);
            Checks.equal(List.of(found.offset(), found.timestamp()), List.of(50L, BASE_TIME + 500), "offset by time");
            Checks.equal(consumer.offsetsForTimes(Map.of(part, BASE_TIME + 5000)).get(part), null, "after the last time");
        }
        long newest = admin.listOffsets(Map.of(part, OffsetSpec.maxTimestamp())).partitionResult(part).get().offset();
        Checks.equal(newest, 99L, "offset of the greatest time");
    }

    private void outOfRange() throws Exception {
        String topic = create(1);
        produceNumbers(topic, 1, 0, 1);
        Map<String, Object> settings = consumerSettings(bootstrap, "range", "classic");
        settings.put("auto.offset.reset", "none");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            consumer.assign(parts(topic, 1));
            consumer.seek(new TopicPartition(topic, 0), 100);
            Checks.refused(OffsetOutOfRangeException.class, () -> {
                for (int turn = 0; turn < 20; turn++) {
                    consumer.poll(Duration.ofMillis(200));
                }
            });
        }
    }

    private void groupGoesOn(String protocol) throws Exception {
        String topic = create(PARTITIONS);
        String group = Checks.fresh("group");
        produceNumbers(topic, PARTITIONS, 0, 300);
        Set<TopicPartition> all = new HashSet<>(parts(topic, PARTITIONS));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, protocol)) {
            consumer.subscribe(List.of(topic));
            read(consumer, 300);
            consumer.commitSync();
            consumer.committed(all).forEach((part, offset) -> Checks.equal(offset.offset(), 100L, "committed offset of " + part));
        }
        produceNumbers(topic, PARTITIONS, 300, 330);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, protocol)) {
            consumer.subscribe(List.of(topic));
            Set<String> values = read(consumer, 30).stream().map(record -> new String(record.value())).collect(Collectors.toSet());
            Checks.equal(values, IntStream.range(300, 330).mapToObj(Integer::toString).collect(Collectors.toSet()), "values");
        }
    }

    /** Waits until each member holds as many partitions as {@code shares} says, in any order, and all are held once. */
    private static void balanced(Collection<Member> members, Integer... shares) throws Exception {
        Checks.eventually("shares " + Arrays.toString(shares), () -> {
            List<Integer> counts = members.stream().map(member -> member.held().size()).sorted().toList();
            List<Integer> held = members.stream().flatMap(member -> member.held().stream()).toList();
            return counts.equals(List.of(shares)) && held.size() == new HashSet<>(held).size();
        });
    }

    private void rebalance(String protocol, String setting, String assignor) throws Exception {
        String topic = create(6);
        Map<String, Object> settings = consumerSettings(bootstrap, Checks.fresh("group"), protocol);
        settings.put(setting, assignor);
        List<Member> members = new ArrayList<>();
        for (Integer[] shares : new Integer[][] {{6}, {3, 3}, {2, 2, 2}}) {
            members.add(new Member(settings, topic));
            balanced(members, shares);
        }
        produceNumbers(topic, 6, 0, 600);
        Checks.eventually("all records", () -> members.stream().mapToInt(member -> member.values().size()).sum() >= 600);
        List<String> values = members.stream().flatMap(member -> member.values().stream()).toList();
        Checks.equal(values.size(), 600, "records over all members");
        Checks.equal(new HashSet<>(values).size(), 600, "different records over all members");
        members.remove(1).leave();
        balanced(members, 3, 3);
        members.remove(0).leave();
        balanced(members, 6);
        members.remove(0).leave();
    }

    private void killedMember(String protocol) throws Exception {
        String topic = create(4);
        String group = Checks.fresh("group");
        Member member = new Member(consumerSettings(bootstrap, group, protocol), topic);
        balanced(List.of(member), 4);
        String java = System.getProperty("java.home") + File.separator + "bin" + File.separator + "java";
        String level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error";
        Process other = new ProcessBuilder(java, "-Xmx128m", level, "-cp", System.getProperty("java.class.path"), "Member",
            bootstrap, topic, group, protocol).inheritIO().start();
        try {
            balanced(List.of(member), 2);
            long killed = System.nanoTime();
            other.destroyForcibly().waitFor();
            balanced(List.of(member), 4);
            double waited = (System.nanoTime() - killed) / 1e9;
            if (waited < 2 || waited > 20) {
                throw new AssertionError("its partitions came back after " + waited + " s; its session lasts 6 s");
            }
        } finally {
            other.destroyForcibly();
            member.leave();
        }
    }

    private void newStaticMember() throws Exception {
        String topic = create(2);
        Map<String, Object> first = consumerSettings(bootstrap, Checks.fresh("group"), "consumer");
        Map<String, Object> second = new HashMap<>(first);
        first.put("group.instance.id", "first");
        second.put("group.instance.id", "second");
        Member one = new Member(first, topic);
        Member two = new Member(second, topic);
        balanced(List.of(one, two), 1, 1);
        List<Integer> held = one.held();
        one.leave();
        Member again = new Member(first, topic);
        balanced(List.of(again, two), 1, 1);
        Checks.equal(again.held(), held, "partitions of the returned member");
        try (KafkaConsumer<byte[], byte[]> other = new KafkaConsumer<>(first)) {
            other.subscribe(List.of(topic));
            Checks.refused(UnreleasedInstanceIdException.class, () -> {
                for (int turn = 0; turn < 100; turn++) {
                    other.poll(Duration.ofMillis(100));
                }
            });
        }
        Checks.equal(again.held(), held, "partitions of the member that was there first");
        again.leave();
        two.leave();
    }

    private void expression() throws Exception {
        String prefix = Checks.fresh("expression");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Checks.fresh("group"), "consumer")) {
            consumer.subscribe(new SubscriptionPattern(prefix + "-[0-9]"));
            Set<String> topics = new HashSet<>();
            for (String topic : List.of(prefix + "-1", prefix + "-2")) {
                admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1), new NewTopic(topic + "0", 1, (short) 1))).all().get();
                topics.add(topic);
                Checks.eventually("the expression finds " + topics, () -> {
                    consumer.poll(Duration.ofMillis(100));
                    return consumer.assignment().stream().map(TopicPartition::topic).collect(Collectors.toSet()).equals(topics);
                });
            }
        }
    }

    private void bothProtocols() throws Exception {
        String topic = create(6);
        String group = Checks.fresh("group");
        Map<String, Object> classic = consumerSettings(bootstrap, group, "classic");
        List<Member> old = List.of(new Member(classic, topic), new Member(classic, topic));
        balanced(old, 3, 3);
        Checks.equal(typeOf(group), GroupType.CLASSIC, "type before");
        List<Member> members = new ArrayList<>(old);
        members.add(new Member(consumerSettings(bootstrap, group, "consumer"), topic));
        balanced(members, 2, 2, 2);
        Checks.equal(typeOf(group), GroupType.CONSUMER, "type with members of both");
        produceNumbers(topic, 6, 0, 600);
        Checks.eventually("all records", () -> members.stream().mapToInt(member -> member.values().size()).sum() >= 600);
        Set<String> values = members.stream().flatMap(member -> member.values().stream()).collect(Collectors.toSet());
        Checks.equal(values.size(), 600, "different records over all members");
        members.remove(2).leave();
        balanced(members, 3, 3);
        Checks.equal(typeOf(group), GroupType.CLASSIC, "type after the last of the new protocol left");
        members.add(new Member(consumerSettings(bootstrap, group, "consumer"), topic));
        balanced(members, 2, 2, 2);
        members.remove(0).leave();
        members.remove(0).leave();
        balanced(members, 6);
        Checks.equal(typeOf(group), GroupType.CONSUMER, "type after the last of the classic protocol left");
        members.remove(0).leave();
    }

    private GroupType typeOf(String group) throws Exception {
        return admin.listGroups().all().get().stream()
            .filter(listed -> listed.groupId().equals(group)).findFirst().orElseThrow().type().orElseThrow();
    }

    private void staticMember() throws Exception {
        String topic = create(2);
        Map<String, Object> settings = consumerSettings(bootstrap, Checks.fresh("group"), "classic");
        Map<String, Object> first = new HashMap<>(settings);
        Map<String, Object> second = new HashMap<>(settings);
        first.put("group.instance.id", "first");
        second.put("group.instance.id", "second");
        Member one = new Member(first, topic);
        Member two = new Member(second, topic);
        balanced(List.of(one, two), 1, 1);
        List<Integer> held = one.held();
        one.leave();
        Member again = new Member(first, topic);
        balanced(List.of(again, two), 1, 1);
        Checks.equal(again.held(), held, "partitions of the returned member");
        again.leave();
        two.leave();
        try (KafkaConsumer<byte[], byte[]> owner = new KafkaConsumer<>(first);
                KafkaConsumer<byte[], byte[]> other = new KafkaConsumer<>(first)) {
            owner.subscribe(List.of(topic));
            Checks.eventually("the owner is assigned", () -> {
                owner.poll(Duration.ofMillis(100));
                return !owner.assignment().isEmpty();
            });
            other.subscribe(List.of(topic));
            Checks.refused(FencedInstanceIdException.class, () -> {
                for (int turn = 0; turn < 100; turn++) {
                    other.poll(Duration.ofMillis(50));
                    owner.poll(Duration.ofMillis(50));
                }
            });
        }
    }

    private void groups(String protocol) throws Exception {
        String topic = create(1);
        String group = Checks.fresh("group");
        TopicPartition part = new TopicPartition(topic, 0);
        produceNumbers(topic, 1, 0, 5);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, protocol)) {
            consumer.subscribe(List.of(topic));
            read(consumer, 5);
            consumer.commitSync(Map.of(part, new OffsetAndMetadata(5, "a word")));
            ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Checks.equal(found.groupState().toString(), "Stable", "state");
            Checks.equal(found.type().toString().toLowerCase(), protocol, "type");
            Checks.equal(found.members().iterator().next().assignment().topicPartitions(), Set.of(part), "assignment");
            Checks.refused(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
        }
        boolean listed = admin.listGroups().all().get().stream().anyMatch(entry -> entry.groupId().equals(group));
        Checks.equal(listed, true, "the group is listed");
        OffsetAndMetadata committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(part);
        Checks.equal(List.of(committed.offset(), committed.metadata()), List.of(5L, "a word"), "committed offset");
        admin.alterConsumerGroupOffsets(group, Map.of(part, new OffsetAndMetadata(2))).all().get();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(group, protocol)) {
            consumer.subscribe(List.of(topic));
            Checks.equal(read(consumer, 3).get(0).offset(), 2L, "first offset after the reset");
        }
        admin.deleteConsumerGroupOffsets(group, Set.of(part)).all().get();
        Checks.equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(), Map.of(), "offsets left");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Checks.eventually("the group is gone", () ->
            admin.listGroups().all().get().stream().noneMatch(entry -> entry.groupId().equals(group)));
    }

    private void deleteRecords() throws Exception {
        String topic = create(1);
        TopicPartition part = new TopicPartition(topic, 0);
        produceNumbers(topic, 1, 0, 10);
        long first = admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(7))).lowWatermarks().get(part).get().lowWatermark();
        Checks.equal(first, 7L, "first offset");
        Checks.equal(readTopic(topic, 1, 3).get(0).offset(), 7L, "first offset that is read");
    }

    private void addPartitions() throws Exception {
        String topic = create(1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
        Checks.eventually("four partitions", () ->
            admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 4);
        Checks.refused(InvalidPartitionsException.class, () ->
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
    }

    private void settings() throws Exception {
        String topic = create(1, Map.of("retention.ms", "3600000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config found = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Checks.equal(found.get("retention.ms").value(), "3600000", "retention.ms");
        Checks.equal(found.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
        Checks.equal(found.get("segment.bytes").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG, "source of another");
        change(resource, "cleanup.policy", "compact");
        Checks.eventually("cleanup.policy is changed", () ->
            admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy").value().equals("compact"));
        Checks.refused(InvalidConfigurationException.class, () -> change(resource, "retention.ms", "soon"));
        Checks.refused(InvalidConfigurationException.class, () -> change(resource, "no.such.setting", "1"));
    }

    private void change(ConfigResource resource, String name, String value) throws Exception {
        AlterConfigOp operation = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all().get();
    }

    private void brokerSettings() throws Exception {
        String node = admin.describeCluster().controller().get().idString();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, node);
        Config found = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Checks.equal(found.get("num.partitions").value(), "3", "num.partitions");
        Checks.equal(found.get("log.retention.hours").value(), "168", "log.retention.hours");
        Checks.equal(found.get("node.id").value(), node, "node.id");
    }

    private void badTopics() throws Exception {
        String topic = create(1);
        Checks.refused(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
        Checks.refused(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("not valid!", 1, (short) 1))).all().get());
        Checks.refused(InvalidReplicationFactorException.class, () ->
            admin.createTopics(List.of(new NewTopic(Checks.fresh("many"), 1, (short) 5))).all().get());
        Checks.refused(InvalidPartitionsException.class, () ->
            admin.createTopics(List.of(new NewTopic(Checks.fresh("none"), 0, (short) 1))).all().get());
        Checks.refused(InvalidConfigurationException.class, () -> create(1, Map.of("retention.ms", "soon")));
        Checks.refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of("absent")).all().get());
        Checks.refused(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of("absent")).allTopicNames().get());
    }

    private void deleteTopic() throws Exception {
        String topic = create(1);
        produceNumbers(topic, 1, 0, 1);
        admin.deleteTopics(List.of(topic)).all().get();
        Checks.eventually("the topic is gone", () -> !admin.listTopics().names().get().contains(topic));
    }
}
