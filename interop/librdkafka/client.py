"""librdkafka, unchanged, through confluent-kafka: client.py HOST:PORT."""

import os
import subprocess
import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from checking import equal, eventually, fresh, run

BOOTSTRAP = sys.argv[1]
PARTITIONS = 3
# The protocol in which the broker assigns (KIP-848).
NEW = {"group.protocol": "consumer"}
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(partitions=PARTITIONS, config=None):
    topic = fresh("librdkafka")
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result()
    eventually(lambda: admin.list_topics(topic).topics[topic].error is None, f"topic {topic} is known")
    return topic


def produce(topic, records, **settings):
    """Sends (partition, key, value, headers, timestamp) and returns the (partition, offset) of each, in order."""
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **settings})
    places = [None] * len(records)

    def delivered(number):
        def note(error, record):
            places[number] = error or (record.partition(), record.offset())

        return note

    for number, (partition, key, value, headers, timestamp) in enumerate(records):
        producer.produce(
            topic, value, key, partition, headers=headers, timestamp=timestamp, on_delivery=delivered(number)
        )
        producer.poll(0)
    equal(producer.flush(60), 0, "records without an answer")
    for place in places:
        if isinstance(place, KafkaError):
            raise KafkaException(place)
    return places


def consumer(group=None, **settings):
    base = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": group or fresh("group"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
    }
    if settings.get("group.protocol") == "consumer":
        # These are the broker's to say.
        del base["session.timeout.ms"], base["heartbeat.interval.ms"]
    return Consumer({**base, **settings})


def read(reader, count, seconds=60):
    """Exactly `count` records; one more is a fault, too."""
    records, until = [], time.monotonic() + seconds
    while len(records) < count and time.monotonic() < until:
        record = reader.poll(0.2)
        if record is None:
            continue
        if record.error():
            raise KafkaException(record.error())
        records.append(record)
    equal(len(records), count, "records read")
    surplus = reader.poll(0.5)
    if surplus is not None:
        raise AssertionError(f"one record too many: {surplus.error() or surplus.value()}")
    return records


def read_topic(topic, count, partitions=PARTITIONS, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    try:
        return read(reader, count)
    finally:
        reader.close()


def refused(action, *codes):
    """The action must be refused with one of these codes."""
    try:
        action()
    except KafkaException as refusal:
        found = refusal.args[0].code()
        if found not in codes:
            raise AssertionError(f"refused with {refusal}, expected {codes}") from refusal
        return
    raise AssertionError(f"not refused; expected {codes}")


def a_created_topic_is_described_with_its_partitions():
    topic = create()
    found = admin.list_topics(topic).topics[topic]
    equal(sorted(found.partitions), [0, 1, 2], "partitions")
    for partition in found.partitions.values():
        equal((len(partition.replicas), partition.isrs), (1, partition.replicas), "replicas and in-sync replicas")
        equal(partition.leader, partition.replicas[0], "leader")
    described = admin.describe_cluster().result()
    equal([node.id for node in described.nodes], [described.controller.id], "the only node is the controller")


def records_with(codec):
    def check():
        topic = create()
        base = 1_700_000_000_000
        sent = [
            (number % PARTITIONS, f"key {number}", f"value {number} " * 20, [("n", str(number)), ("empty", b"")], base + number)
            for number in range(3000)
        ]
        places = produce(topic, sent, **{"compression.type": codec})
        for partition in range(PARTITIONS):
            offsets = [offset for at, offset in places if at == partition]
            equal(offsets, list(range(1000)), f"acknowledged offsets of partition {partition}")
        # The check of every checksum is the client's.
        records = read_topic(topic, len(sent), **{"check.crcs": True})
        by_place = {(record.partition(), record.offset()): record for record in records}
        for place, (_, key, value, headers, timestamp) in zip(places, sent):
            record = by_place[place]
            equal((record.key(), record.value()), (key.encode(), value.encode()), f"record at {place}")
            equal(record.headers(), [(name, text.encode() if isinstance(text, str) else text) for name, text in headers], "headers")
            equal(record.timestamp()[1], timestamp, "timestamp")
        for partition in range(PARTITIONS):
            offsets = [record.offset() for record in records if record.partition() == partition]
            equal(offsets, sorted(offsets), f"order of partition {partition}")

    check.__name__ = f"three thousand records with {codec} come back as they were sent"
    return check


def nulls_and_empty_values_are_told_apart():
    topic = create(1)
    produce(topic, [(0, None, None, None, 0), (0, "", "", None, 0), (0, "k", None, [("h", None)], 0)])
    found = [(record.key(), record.value(), record.headers()) for record in read_topic(topic, 3, 1)]
    equal(found, [(None, None, None), (b"", b"", None), (b"k", None, [("h", None)])], "records")


def an_idempotent_producer_writes_everything_once():
    topic = create(1)
    sent = [(0, None, str(number), None, 0) for number in range(20_000)]
    settings = {"enable.idempotence": True, "batch.num.messages": 100, "linger.ms": 1}
    equal(produce(topic, sent, **settings), [(0, offset) for offset in range(len(sent))], "acknowledged offsets")
    values = [int(record.value()) for record in read_topic(topic, len(sent), 1)]
    equal(values, list(range(len(sent))), "values in order")


def a_large_record_is_kept_and_a_too_large_one_refused():
    topic = create(1)
    large, too_large = os.urandom(900_000), os.urandom(1_500_000)
    produce(topic, [(0, None, large, None, 0)])
    client = {"message.max.bytes": 3_000_000}
    refused(lambda: produce(topic, [(0, None, too_large, None, 0)], **client), KafkaError.MSG_SIZE_TOO_LARGE)
    equal(read_topic(topic, 1, 1)[0].value(), large, "the large record")


def offsets_are_found_by_end_and_by_time():
    topic = create(1)
    base = 1_700_000_000_000
    produce(topic, [(0, None, str(number), None, base + 10 * number) for number in range(100)])
    reader = consumer()
    equal(reader.get_watermark_offsets(TopicPartition(topic, 0)), (0, 100), "first and next offset")
    at = lambda time: reader.offsets_for_times([TopicPartition(topic, 0, time)])[0].offset
    equal((at(base), at(base + 495), at(base + 990)), (0, 50, 99), "offsets by time")
    equal(at(base + 991), -1, "offset after the last time")
    reader.close()
    latest = admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()})
    equal([future.result().offset for future in latest.values()], [99], "offset of the greatest time")


def a_reader_may_seek():
    topic = create(1)
    produce(topic, [(0, None, str(number), None, 0) for number in range(50)])
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 45)])
    equal([record.offset() for record in read(reader, 5)], [45, 46, 47, 48, 49], "from offset 45")
    reader.seek(TopicPartition(topic, 0, 48))
    equal([record.offset() for record in read(reader, 2)], [48, 49], "from offset 48")
    reader.close()


def an_offset_out_of_range_is_refused():
    topic = create(1)
    produce(topic, [(0, None, "x", None, 0)])
    reader = consumer(**{"auto.offset.reset": "error"})
    reader.assign([TopicPartition(topic, 0, 100)])
    record = eventually(lambda: reader.poll(0.2), "an error")
    equal(record.error() and record.error().code(), KafkaError._AUTO_OFFSET_RESET, "error")
    reader.close()


def a_group_goes_on_where_it_committed(**settings):
    topic, group = create(), fresh("group")
    produce(topic, [(number % PARTITIONS, None, str(number), None, 0) for number in range(300)])
    reader = consumer(group, **settings)
    reader.subscribe([topic])
    equal(len(read(reader, 300)), 300, "records of the first run")
    committed = reader.commit(asynchronous=False)
    equal({part.offset for part in committed}, {100}, "committed offsets")
    reader.close()
    produce(topic, [(number % PARTITIONS, None, str(number), None, 0) for number in range(300, 330)])
    again = consumer(group, **settings)
    again.subscribe([topic])
    values = sorted(int(record.value()) for record in read(again, 30))
    equal(values, list(range(300, 330)), "values of the second run")
    again.close()


class Member:
    """A consumer that is polled together with the others, and what it is assigned."""

    def __init__(self, topic, group, assignor="range", **settings):
        by_broker = settings.get("group.protocol") == "consumer"
        named = "group.remote.assignor" if by_broker else "partition.assignment.strategy"
        self.reader = consumer(group, **{named: assignor}, **settings)
        self.adds = by_broker or assignor == "cooperative-sticky"
        self.assigned, self.records = [], []
        self.reader.subscribe([topic], on_assign=self.gain, on_revoke=self.lose, on_lost=self.lose)

    def gain(self, _, partitions):
        kept = self.assigned if self.adds else []
        self.assigned = sorted(kept + [part.partition for part in partitions])

    def lose(self, _, partitions):
        gone = {part.partition for part in partitions}
        self.assigned = [partition for partition in self.assigned if partition not in gone]

    def poll(self):
        self.records += [record for record in self.reader.consume(100, 0.05) if not record.error()]


def balanced(members, shares, seconds=40):
    """Polls all members until each holds as many partitions as `shares` says, in any order, and all are held once."""

    def question():
        for member in members:
            member.poll()
        held = sorted(partition for member in members for partition in member.assigned)
        counts = sorted(len(member.assigned) for member in members)
        return counts == sorted(shares) and len(held) == len(set(held))

    eventually(question, f"shares {shares}", seconds)


def rebalancing(assignor, **settings):
    def check():
        topic, group = create(4), fresh("group")
        members = [Member(topic, group, assignor, **settings)]
        balanced(members, [4])
        members.append(Member(topic, group, assignor, **settings))
        balanced(members, [2, 2])
        produce(topic, [(number % 4, None, str(number), None, 0) for number in range(400)])
        eventually(lambda: [m.poll() for m in members] and sum(len(m.records) for m in members) == 400, "all records")
        values = sorted(int(record.value()) for member in members for record in member.records)
        equal(values, list(range(400)), "each record once, over both members")
        members.pop().reader.close()
        balanced(members, [4])
        members.pop().reader.close()

    of_broker = " of the broker" if settings else ""
    check.__name__ = f"members share, join and leave a group with {assignor}{of_broker}"
    return check


def in_the_new_protocol(check):
    def again():
        check(**NEW)

    again.__name__ = f"{check.__name__} in the new protocol"
    return again


def members_of_both_protocols_share_a_group():
    topic, group = create(4), fresh("group")
    old = [Member(topic, group), Member(topic, group)]
    balanced(old, [2, 2])
    new = Member(topic, group, "uniform", **NEW)
    balanced([*old, new], [1, 1, 2])
    produce(topic, [(number % 4, None, str(number), None, 0) for number in range(400)])
    members = [*old, new]
    eventually(lambda: [m.poll() for m in members] and sum(len(m.records) for m in members) == 400, "all records")
    values = sorted(int(record.value()) for member in members for record in member.records)
    equal(values, list(range(400)), "each record once, over all members")
    new.reader.close()
    balanced(old, [2, 2])
    for member in old:
        member.reader.close()


def an_expression_finds_topics_that_come_later():
    prefix = fresh("expression")
    names = [f"{prefix}-1", f"{prefix}-2"]
    reader = consumer(**NEW)
    for number, name in enumerate(names):
        admin.create_topics([NewTopic(name, 1, 1)])[name].result()
        if number == 0:
            reader.subscribe([f"^{prefix}-[0-9]"])
        eventually(lambda: reader.poll(0.1) or len(reader.assignment()) == number + 1, f"{number + 1} partitions", 60)
        equal({part.topic for part in reader.assignment()}, set(names[: number + 1]), "topics")
    reader.close()


def a_killed_member_loses_its_partitions(**settings):
    topic, group = create(4), fresh("group")
    assignor = "uniform" if settings else "range"
    member = Member(topic, group, assignor, **settings)
    balanced([member], [4])
    script = os.path.join(os.path.dirname(__file__), "member.py")
    protocol = settings.get("group.protocol", "classic")
    command = [sys.executable, script, BOOTSTRAP, topic, group, protocol]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        balanced([member], [2])
        equal(len(other.stdout.readline().split()), 2, "partitions of the other member")
        other.kill()
        started = time.monotonic()
        balanced([member], [4])
        waited = time.monotonic() - started
        if not 2 < waited < 20:
            raise AssertionError(f"its partitions came back after {waited:.1f} s; its session lasts 6 s")
    finally:
        other.kill()
        other.wait()
        member.reader.close()


def a_static_member_keeps_its_partitions_over_a_restart(**settings):
    topic, group = create(2), fresh("group")
    assignor = "uniform" if settings else "range"
    names = [{"group.instance.id": name, **settings} for name in ("a", "b")]
    first, second = (Member(topic, group, assignor, **name) for name in names)
    balanced([first, second], [1, 1])
    held = first.assigned
    first.reader.close()
    again = Member(topic, group, assignor, **names[0])
    balanced([again, second], [1, 1])
    equal(again.assigned, held, "partitions of the returned member")
    again.reader.close()
    second.reader.close()


def groups_are_listed_described_and_deleted():
    topic, group = create(1), fresh("group")
    produce(topic, [(0, None, "x", None, 0)])
    member = Member(topic, group)
    balanced([member], [1])
    listed = {entry.group_id: entry for entry in admin.list_consumer_groups().result().valid}
    equal(listed[group].state.name, "STABLE", "state in the list")
    described = admin.describe_consumer_groups([group])[group].result()
    equal((described.state.name, len(described.members)), ("STABLE", 1), "state and members")
    equal([part.partition for part in described.members[0].assignment.topic_partitions], [0], "assignment")
    refused(lambda: admin.delete_consumer_groups([group])[group].result(), KafkaError.NON_EMPTY_GROUP)
    eventually(lambda: member.poll() or member.records, "the record")
    member.reader.commit(asynchronous=False)
    member.reader.close()
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    equal([(part.partition, part.offset) for part in offsets.topic_partitions], [(0, 1)], "offsets")
    reset = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
    admin.alter_consumer_group_offsets([reset])[group].result()
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    equal([part.offset for part in offsets.topic_partitions], [0], "offsets after the reset")
    admin.delete_consumer_groups([group])[group].result()
    eventually(lambda: group not in {entry.group_id for entry in admin.list_consumer_groups().result().valid}, "gone")


def records_before_an_offset_can_be_deleted():
    topic = create(1)
    produce(topic, [(0, None, str(number), None, 0) for number in range(10)])
    deleted = admin.delete_records([TopicPartition(topic, 0, 7)])
    equal([future.result().low_watermark for future in deleted.values()], [7], "first offset")
    equal([record.offset() for record in read_topic(topic, 3, 1)], [7, 8, 9], "offsets that are left")


def partitions_can_be_added():
    topic = create(1)
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    eventually(lambda: len(admin.list_topics(topic).topics[topic].partitions) == 4, "four partitions")
    produce(topic, [(3, None, "x", None, 0)])
    refused(lambda: admin.create_partitions([NewPartitions(topic, 2)])[topic].result(), KafkaError.INVALID_PARTITIONS)


def settings_of_a_topic_can_be_changed():
    topic = create(1, {"retention.ms": "3600000"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    value = lambda name: admin.describe_configs([resource])[resource].result()[name].value
    equal((value("retention.ms"), value("cleanup.policy")), ("3600000", "delete"), "settings")
    change = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    list(admin.incremental_alter_configs([changed]).values())[0].result()
    eventually(lambda: value("cleanup.policy") == "compact", "cleanup.policy is compact")
    equal(value("retention.ms"), "3600000", "the other setting")
    wrong = ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[wrong])
    refused(lambda: list(admin.incremental_alter_configs([changed]).values())[0].result(), KafkaError.INVALID_CONFIG)


def bad_topics_are_refused():
    topic = create(1)
    new = lambda name, partitions=1, replicas=1: admin.create_topics([NewTopic(name, partitions, replicas)])[name].result()
    refused(lambda: new(topic), KafkaError.TOPIC_ALREADY_EXISTS)
    refused(lambda: new("not valid!"), KafkaError.TOPIC_EXCEPTION)
    refused(lambda: new(fresh("many"), 1, 5), KafkaError.INVALID_REPLICATION_FACTOR)
    refused(lambda: admin.delete_topics(["absent"])["absent"].result(), KafkaError.UNKNOWN_TOPIC_OR_PART)


def an_unknown_topic_is_not_created_for_a_reader():
    reader, topic = consumer(**{"allow.auto.create.topics": False}), fresh("absent")
    reader.subscribe([topic])
    record = eventually(lambda: reader.poll(0.2), "an error")
    equal(record.error() and record.error().code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    reader.close()
    equal(topic in admin.list_topics().topics, False, "the topic exists")


def a_topic_is_created_when_something_is_sent_to_it():
    topic = fresh("automatic")
    produce(topic, [(-1, None, "x", None, 0)])
    equal(len(admin.list_topics(topic).topics[topic].partitions), PARTITIONS, "partitions, as num.partitions says")


def a_deleted_topic_is_gone():
    topic = create(1)
    produce(topic, [(0, None, "x", None, 0)])
    admin.delete_topics([topic])[topic].result()
    eventually(lambda: topic not in admin.list_topics().topics, "the topic is gone")


run(
    [
        a_created_topic_is_described_with_its_partitions,
        *[records_with(codec) for codec in ("none", "gzip", "snappy", "lz4", "zstd")],
        nulls_and_empty_values_are_told_apart,
        an_idempotent_producer_writes_everything_once,
        a_large_record_is_kept_and_a_too_large_one_refused,
        offsets_are_found_by_end_and_by_time,
        a_reader_may_seek,
        an_offset_out_of_range_is_refused,
        a_group_goes_on_where_it_committed,
        *[rebalancing(assignor) for assignor in ("range", "roundrobin", "cooperative-sticky")],
        a_killed_member_loses_its_partitions,
        a_static_member_keeps_its_partitions_over_a_restart,
        groups_are_listed_described_and_deleted,
        in_the_new_protocol(a_group_goes_on_where_it_committed),
        *[rebalancing(assignor, **NEW) for assignor in ("uniform", "range")],
        in_the_new_protocol(a_killed_member_loses_its_partitions),
        in_the_new_protocol(a_static_member_keeps_its_partitions_over_a_restart),
        an_expression_finds_topics_that_come_later,
        members_of_both_protocols_share_a_group,
        records_before_an_offset_can_be_deleted,
        partitions_can_be_added,
        settings_of_a_topic_can_be_changed,
        bad_topics_are_refused,
        an_unknown_topic_is_not_created_for_a_reader,
        a_topic_is_created_when_something_is_sent_to_it,
        a_deleted_topic_is_gone,
    ]
)
