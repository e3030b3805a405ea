"""Transactions of librdkafka, unchanged, through confluent-kafka: client.py HOST:PORT.

It speaks the protocol of KIP-98: partitions and groups are named to the coordinator first, and a producer keeps its epoch.
"""

import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from checking import equal, eventually, fresh, run

BOOTSTRAP = sys.argv[1]
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(partitions=1):
    topic = fresh("librdkafka")
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    eventually(lambda: admin.list_topics(topic).topics[topic].error is None, f"topic {topic} is known")
    return topic


def producer(name=None, **settings):
    made = Producer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "transactional.id": name or fresh("id"),
            "transaction.timeout.ms": 10_000,
            "linger.ms": 1,
            "log_level": 0,
            **settings,
        }
    )
    made.init_transactions(30)
    return made


def send(sender, topic, numbers, partitions=1):
    for number in numbers:
        sender.produce(topic, str(number), partition=number % partitions)
        sender.poll(0)


def in_transaction(sender, topic, numbers, partitions=1, commit=True):
    sender.begin_transaction()
    send(sender, topic, numbers, partitions)
    if commit:
        sender.commit_transaction(30)
    else:
        sender.flush(30)
        sender.abort_transaction(30)


def consumer(isolation, group=None, **settings):
    base = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": group or fresh("group"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": isolation,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "check.crcs": True,
    }
    return Consumer({**base, **settings})


def read(isolation, topic, count, partitions=1):
    """The values of exactly `count` records, in the order of reading; one more is a fault, too."""
    reader = consumer(isolation)
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    values, until = [], time.monotonic() + 40
    while time.monotonic() < until:
        record = reader.poll(0.5 if len(values) >= count else 0.2)
        if record is None:
            if len(values) >= count:
                break
            continue
        if record.error():
            raise KafkaException(record.error())
        values.append(int(record.value()))
    reader.close()
    equal(len(values), count, f"records read with {isolation}")
    return values


def refusal(action):
    """The error with which an action is refused."""
    try:
        action()
    except KafkaException as refused:
        return refused.args[0]
    raise AssertionError("not refused")


def end(topic, isolation):
    part = TopicPartition(topic, 0)
    found = admin.list_offsets({part: OffsetSpec.latest()}, isolation_level=isolation)
    return found[part].result().offset


def a_committed_transaction_is_read_whole_and_an_aborted_one_not_at_all():
    topic, sender = create(3), producer()
    in_transaction(sender, topic, range(0, 300), 3)
    in_transaction(sender, topic, range(300, 600), 3, commit=False)
    in_transaction(sender, topic, range(600, 900), 3)
    committed = sorted(read("read_committed", topic, 600, 3))
    equal(committed, [*range(0, 300), *range(600, 900)], "committed values")
    equal(sorted(read("read_uncommitted", topic, 900, 3)), list(range(900)), "all values")


def an_open_transaction_holds_readers_of_committed_records_back():
    topic, sender, other = create(), producer(), producer()
    sender.begin_transaction()
    send(sender, topic, [0])
    sender.flush(30)
    in_transaction(other, topic, [1])
    # A commit is answered once it is decided; its marker follows.
    eventually(lambda: end(topic, IsolationLevel.READ_UNCOMMITTED) == 3, "two records and the marker of the second")
    equal(end(topic, IsolationLevel.READ_COMMITTED), 0, "end of committed records")
    read("read_committed", topic, 0)
    sender.commit_transaction(30)
    equal(read("read_committed", topic, 2), [0, 1], "values in the order of their offsets")


def sixty_transactions_in_a_row_keep_their_order():
    topic, sender, expected = create(), producer(), []
    for number in range(60):
        commits = number % 7 != 3
        in_transaction(sender, topic, [number], commit=commits)
        expected += [number] if commits else []
    equal(read("read_committed", topic, len(expected)), expected, "values in order")


def every_codec_goes_through_a_transaction():
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        topic, sender = create(), producer(**{"compression.type": codec})
        in_transaction(sender, topic, range(1000), commit=False)
        in_transaction(sender, topic, range(1000, 2000))
        equal(read("read_committed", topic, 1000), list(range(1000, 2000)), f"values with {codec}")


def an_empty_transaction_leaves_no_trace():
    topic, sender = create(), producer()
    sender.begin_transaction()
    sender.commit_transaction(30)
    sender.begin_transaction()
    sender.abort_transaction(30)
    in_transaction(sender, topic, [0])
    equal(read("read_committed", topic, 1), [0], "values")
    equal(end(topic, IsolationLevel.READ_COMMITTED), 2, "one record and one marker")


def offsets_move_with_the_commit_and_stay_with_the_abort():
    topic, group, sender = create(), fresh("group"), producer()
    send(plain := Producer({"bootstrap.servers": BOOTSTRAP}), topic, range(10))
    plain.flush(30)
    reader = consumer("read_committed", group)
    reader.subscribe([topic])
    for number in range(3):
        record = eventually(lambda: reader.poll(0.2), "a record")
        equal(int(record.value()), number, "value")
    committed = lambda: reader.committed([TopicPartition(topic, 0)], 30)[0].offset
    for offset, commit, expected in ((3, True, 3), (5, False, 3), (6, True, 6)):
        sender.begin_transaction()
        offsets = [TopicPartition(topic, 0, offset)]
        sender.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 30)
        (sender.commit_transaction if commit else sender.abort_transaction)(30)
        equal(committed(), expected, "committed offset")
    reader.close()


def offsets_of_a_member_that_was_left_behind_are_refused():
    topic, group, sender = create(), fresh("group"), producer()
    first = consumer("read_committed", group)
    first.subscribe([topic])
    eventually(lambda: first.poll(0.1) or first.assignment(), "membership")
    former = first.consumer_group_metadata()
    second = consumer("read_committed", group)
    second.subscribe([topic])
    eventually(lambda: first.poll(0.1) or second.poll(0.1) or second.memberid(), "a second member")
    first.close()
    eventually(lambda: second.poll(0.1) or second.assignment(), "the second member alone")
    sender.begin_transaction()
    offsets = [TopicPartition(topic, 0, 1)]
    error = refusal(lambda: sender.send_offsets_to_transaction(offsets, former, 30))
    equal(error.code() in (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID), True, f"refused with {error}")
    equal((error.txn_requires_abort(), error.fatal()), (True, False), "abortable")
    sender.abort_transaction(30)
    sender.begin_transaction()
    sender.send_offsets_to_transaction(offsets, second.consumer_group_metadata(), 30)
    sender.commit_transaction(30)
    equal(second.committed([TopicPartition(topic, 0)], 30)[0].offset, 1, "committed offset")
    second.close()


def a_newer_producer_fences_the_older_one():
    topic, name = create(), fresh("id")
    older = producer(name)
    older.begin_transaction()
    send(older, topic, [0])
    older.flush(30)
    newer = producer(name)
    in_transaction(newer, topic, [1])

    def goes_on():
        send(older, topic, [2])
        older.commit_transaction(30)

    error = refusal(goes_on)
    equal((error.code(), error.fatal()), (KafkaError._FENCED, True), f"refused with {error}")
    in_transaction(newer, topic, [3])
    equal(read("read_committed", topic, 2), [1, 3], "values of the newer producer")


def a_producer_goes_on_after_an_abortable_error():
    topic, sender = create(), producer(**{"message.max.bytes": 3_000_000})
    sender.begin_transaction()
    send(sender, topic, [0])
    sender.produce(topic, "x" * 1_500_000, partition=0)
    error = refusal(lambda: sender.commit_transaction(30))
    equal((error.txn_requires_abort(), error.fatal()), (True, False), f"refused with {error}")
    sender.abort_transaction(30)
    # This client counts the refused record as sent, and so loses one more transaction to a gap in its sequences.
    error = refusal(lambda: in_transaction(sender, topic, [1]))
    equal((error.code(), error.txn_requires_abort()), (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, True), f"{error}")
    sender.abort_transaction(30)
    in_transaction(sender, topic, [2])
    equal(read("read_committed", topic, 1), [2], "values")


def a_transaction_that_takes_too_long_is_aborted():
    topic, name = create(), fresh("id")
    slow = producer(name, **{"transaction.timeout.ms": 1000})
    slow.begin_transaction()
    send(slow, topic, [0])
    slow.flush(30)
    # A coordinator looks every ten seconds.
    eventually(lambda: end(topic, IsolationLevel.READ_COMMITTED) == 2, "the coordinator aborts")

    def goes_on():
        send(slow, topic, [1])
        slow.commit_transaction(30)

    refusal(goes_on)
    in_transaction(producer(name), topic, [2])
    equal(read("read_committed", topic, 1), [2], "values")


run(
    [
        a_committed_transaction_is_read_whole_and_an_aborted_one_not_at_all,
        an_open_transaction_holds_readers_of_committed_records_back,
        sixty_transactions_in_a_row_keep_their_order,
        every_codec_goes_through_a_transaction,
        an_empty_transaction_leaves_no_trace,
        offsets_move_with_the_commit_and_stay_with_the_abort,
        offsets_of_a_member_that_was_left_behind_are_refused,
        a_newer_producer_fences_the_older_one,
        a_producer_goes_on_after_an_abortable_error,
        a_transaction_that_takes_too_long_is_aborted,
    ]
)
