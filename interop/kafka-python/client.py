"""kafka-python, unchanged: client.py HOST:PORT."""

import os
import subprocess
import sys
import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from checking import equal, eventually, fresh, run

BOOTSTRAP = sys.argv[1]
PARTITIONS = 3
admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(partitions=PARTITIONS, configs=None):
    topic = fresh("kafka-python")
    admin.create_topics(
        {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs or {}}}, wait_for_metadata=True
    )
    return topic


def produce(topic, records, **settings):
    """Sends (partition, key, value, headers, timestamp) and returns the offset of each."""
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=5, **settings)
    futures = [
        producer.send(topic, value, key, headers, partition, timestamp) for partition, key, value, headers, timestamp in records
    ]
    producer.flush(60)
    offsets = [future.get(60).offset for future in futures]
    producer.close()
    return offsets


def numbers(count, partitions=1, first=0):
    return [(number % partitions, None, str(number).encode(), None, None) for number in range(first, first + count)]


def consumer(**settings):
    base = {
        "bootstrap_servers": BOOTSTRAP,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500,
    }
    return KafkaConsumer(**{**base, **settings})


def member(topic, group):
    """A consumer that knows its topic before it joins. One that finds it while it joins, and so joins again at once,
    sometimes forgets what the second generation assigned to it; it does so with Apache Kafka 4.3.1, too."""
    joining = consumer(group_id=group)
    eventually(lambda: joining.partitions_for_topic(topic), "the topic's partitions")
    joining.subscribe([topic])
    return joining


def read(reader, count, seconds=60):
    """Exactly `count` records; one more is a fault, too."""
    records, until = [], time.monotonic() + seconds
    while len(records) < count and time.monotonic() < until:
        for some in reader.poll(200).values():
            records += some
    records += [record for some in reader.poll(300).values() for record in some]
    equal(len(records), count, "records read")
    return records


def assigned(topic, partitions=PARTITIONS, **settings):
    reader = consumer(**settings)
    reader.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    reader.seek_to_beginning()
    return reader


def refused(action, error):
    try:
        action()
    except error:
        return
    raise AssertionError(f"not refused; expected {error.__name__}")


def a_created_topic_is_described_with_its_partitions():
    topic = create()
    described = admin.describe_topics([topic])[0]
    equal(sorted(part["partition_index"] for part in described["partitions"]), [0, 1, 2], "partitions")
    equal([len(part["isr_nodes"]) for part in described["partitions"]], [1, 1, 1], "in-sync replicas")
    equal(len(admin.describe_cluster()["brokers"]), 1, "brokers")


def records_with(codec):
    def check():
        topic, base = create(), 1_700_000_000_000
        sent = [
            (number % PARTITIONS, b"key %d" % number, b"value %d " % number * 20, [("n", b"%d" % number)], base + number)
            for number in range(1500)
        ]
        offsets = produce(topic, sent, compression_type=codec)
        equal(offsets, [number // PARTITIONS for number in range(1500)], "acknowledged offsets")
        reader = assigned(topic, check_crcs=True)
        found = {(record.partition, record.offset): record for record in read(reader, len(sent))}
        reader.close()
        for offset, (partition, key, value, headers, timestamp) in zip(offsets, sent):
            record = found[partition, offset]
            equal((record.key, record.value, record.timestamp), (key, value, timestamp), f"record at {partition}/{offset}")
            equal([tuple(header) for header in record.headers], headers, "headers")

    check.__name__ = f"fifteen hundred records with {codec} come back as they were sent"
    return check


def order_is_kept_within_a_partition():
    topic = create(1)
    equal(produce(topic, numbers(3000), enable_idempotence=True), list(range(3000)), "acknowledged offsets")
    reader = assigned(topic, 1)
    records = read(reader, 3000)
    equal([(record.offset, int(record.value)) for record in records], [(n, n) for n in range(3000)], "offsets and values")
    reader.close()


def a_too_large_record_is_refused():
    topic = create(1)
    record = [(0, None, os.urandom(1_500_000), None, None)]
    refused(lambda: produce(topic, record, max_request_size=3_000_000), MessageSizeTooLargeError)


def offsets_are_found_by_end_and_by_time():
    topic, base = create(1), 1_700_000_000_000
    produce(topic, [(0, None, b"x", None, base + 10 * number) for number in range(100)])
    reader, part = consumer(), TopicPartition(topic, 0)
    equal((reader.beginning_offsets([part])[part], reader.end_offsets([part])[part]), (0, 100), "first and next offset")
    equal(reader.offsets_for_times({part: base + 495})[part].offset, 50, "offset by time")
    equal(reader.offsets_for_times({part: base + 5000})[part], None, "offset after the last time")
    reader.close()


def an_offset_out_of_range_is_refused():
    topic = create(1)
    produce(topic, numbers(1))
    reader = consumer(auto_offset_reset="none")
    reader.assign([TopicPartition(topic, 0)])
    reader.seek(TopicPartition(topic, 0), 100)
    refused(lambda: [reader.poll(500) for _ in range(10)], OffsetOutOfRangeError)
    reader.close()


def a_group_goes_on_where_it_committed():
    topic, group = create(), fresh("group")
    produce(topic, numbers(300, PARTITIONS))
    reader = member(topic, group)
    read(reader, 300)
    reader.commit()
    equal({reader.committed(TopicPartition(topic, n)) for n in range(PARTITIONS)}, {100}, "committed offsets")
    reader.close()
    produce(topic, numbers(30, PARTITIONS, 300))
    reader = member(topic, group)
    equal(sorted(int(record.value) for record in read(reader, 30)), list(range(300, 330)), "values of the second run")
    reader.close()


class Member:
    """A consumer on a thread of its own: it polls until it is told to leave."""

    def __init__(self, topic, group):
        self.held, self.values, self.leaving = [], [], threading.Event()
        self.thread = threading.Thread(target=self.live, args=(topic, group), daemon=True)
        self.thread.start()

    def live(self, topic, group):
        reader = member(topic, group)
        while not self.leaving.is_set():
            for some in reader.poll(50).values():
                self.values += [int(record.value) for record in some]
            self.held = sorted(part.partition for part in reader.assignment())
        self.held = []
        reader.close()

    def leave(self):
        self.leaving.set()
        self.thread.join(20)


def balanced(members, shares):
    def question():
        held = sorted(partition for member in members for partition in member.held)
        return sorted(len(member.held) for member in members) == shares and len(held) == len(set(held))

    eventually(question, f"shares {shares}", 40)


def members_share_join_and_leave_a_group():
    topic, group = create(4), fresh("group")
    first = Member(topic, group)
    balanced([first], [4])
    second = Member(topic, group)
    balanced([first, second], [2, 2])
    produce(topic, numbers(400, 4))
    eventually(lambda: len(first.values) + len(second.values) >= 400, "all records")
    equal(sorted(first.values + second.values), list(range(400)), "each record once, over both members")
    second.leave()
    balanced([first], [4])
    first.leave()


def a_killed_member_loses_its_partitions():
    topic, group = create(4), fresh("group")
    first = Member(topic, group)
    balanced([first], [4])
    script = os.path.join(os.path.dirname(__file__), "member.py")
    other = subprocess.Popen([sys.executable, script, BOOTSTRAP, topic, group])
    try:
        balanced([first], [2])
        other.kill()
        balanced([first], [4])
    finally:
        other.kill()
        other.wait()
        first.leave()


def groups_are_listed_described_and_deleted():
    topic, group = create(1), fresh("group")
    produce(topic, numbers(1))
    reader = member(topic, group)
    read(reader, 1)
    reader.commit()
    listed = lambda: [entry["group_id"] for entry in admin.list_groups()]
    equal(group in listed(), True, "the group is listed")
    described = admin.describe_groups([group])[group]
    equal((described["group_state"], len(described["members"])), ("Stable", 1), "state and members")
    equal(admin.delete_groups([group]), {group: "NonEmptyGroupError"}, "answer while it has a member")
    reader.close()
    part = TopicPartition(topic, 0)
    equal(admin.list_group_offsets([group])[group][part].offset, 1, "committed offset")
    equal(admin.delete_groups([group]), {group: "OK"}, "answer when it is empty")
    eventually(lambda: group not in listed(), "the group is gone")


def records_before_an_offset_can_be_deleted():
    topic = create(1)
    produce(topic, numbers(10))
    admin.delete_records({TopicPartition(topic, 0): 7})
    reader = assigned(topic, 1)
    equal([record.offset for record in read(reader, 3)], [7, 8, 9], "offsets that are left")
    reader.close()


def partitions_and_settings_can_be_changed():
    topic = create(1)
    admin.create_partitions({topic: 4})
    eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 4, "four partitions")
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "3600000"})])

    def changed():
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return [settings.get("retention.ms", {}).get("value") for kind in found.values() for settings in kind.values()]

    eventually(lambda: changed() == ["3600000"], "retention.ms is changed")


def bad_topics_are_refused_and_a_deleted_one_is_gone():
    topic = create(1)
    refused(lambda: admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}), TopicAlreadyExistsError)
    refused(lambda: admin.create_topics({"not valid!": {"num_partitions": 1, "replication_factor": 1}}), InvalidTopicError)
    refused(lambda: admin.delete_topics(["absent"]), UnknownTopicOrPartitionError)
    admin.delete_topics([topic])
    eventually(lambda: topic not in admin.list_topics(), "the topic is gone")


run(
    [
        a_created_topic_is_described_with_its_partitions,
        *[records_with(codec) for codec in (None, "gzip", "snappy", "lz4", "zstd")],
        order_is_kept_within_a_partition,
        a_too_large_record_is_refused,
        offsets_are_found_by_end_and_by_time,
        an_offset_out_of_range_is_refused,
        a_group_goes_on_where_it_committed,
        members_share_join_and_leave_a_group,
        a_killed_member_loses_its_partitions,
        groups_are_listed_described_and_deleted,
        records_before_an_offset_can_be_deleted,
        partitions_and_settings_can_be_changed,
        bad_topics_are_refused_and_a_deleted_one_is_gone,
    ]
)
