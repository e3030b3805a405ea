"""aiokafka, unchanged: client.py HOST:PORT."""

import asyncio
import functools
import inspect
import logging
import os
import sys
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    ProducerFenced,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from checking import equal, fresh, run

BOOTSTRAP = sys.argv[1]
PARTITIONS = 3
BASE_TIME = 1_700_000_000_000
loop = asyncio.new_event_loop()


async def eventually(question, what, seconds=30):
    """Asks again until the answer is true, and returns it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = question()
        answer = await answer if inspect.isawaitable(answer) else answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


async def refused(action, *errors):
    try:
        await action
    except errors as error:
        return error
    raise AssertionError(f"not refused; expected {errors}")


def answered(errors):
    """Raises the error that an answer names, which this client leaves to its user."""
    for name, code, *rest in errors:
        if code:
            raise for_code(code)(f"{name}: {rest}")


async def create_topic(topic, partitions=PARTITIONS, configs=None, replicas=1):
    new = NewTopic(topic, partitions, replicas, topic_configs=configs or {})
    answered((await admin.create_topics([new])).topic_errors)


async def create(partitions=PARTITIONS, configs=None):
    topic = fresh("aiokafka")
    await create_topic(topic, partitions, configs)
    return topic


def producer(**settings):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, retry_backoff_ms=50, **settings)


async def produce(topic, records, **settings):
    """Sends (partition, key, value, headers, timestamp) and returns the offset of each."""
    async with producer(linger_ms=5, **settings) as sender:
        sent = [await sender.send(topic, value, key, part, at, headers) for part, key, value, headers, at in records]
        return [metadata.offset for metadata in await asyncio.gather(*sent)]


def numbers(some, partitions=1):
    return [(number % partitions, None, str(number).encode(), None, None) for number in some]


def consumer(*topics, **settings):
    base = {
        "bootstrap_servers": BOOTSTRAP,
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 200,
        "fetch_max_wait_ms": 100,
        "retry_backoff_ms": 50,
    }
    return AIOKafkaConsumer(*topics, **{**base, **settings})


@asynccontextmanager
async def assigned(topic, partitions=PARTITIONS, **settings):
    async with consumer(**settings) as reader:
        reader.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        yield reader


async def read(reader, count, seconds=60):
    """Exactly `count` records; one more is a fault, too."""
    records, until = [], time.monotonic() + seconds
    while len(records) < count and time.monotonic() < until:
        for some in (await reader.getmany(timeout_ms=200)).values():
            records += some
    records += [record for some in (await reader.getmany(timeout_ms=100)).values() for record in some]
    equal(len(records), count, "records read")
    return records


async def read_numbers(topic, count, partitions=1, **settings):
    async with assigned(topic, partitions, **settings) as reader:
        return [int(record.value) for record in await read(reader, count)]


async def a_created_topic_is_described_with_its_partitions():
    topic = await create()
    cluster = await admin.describe_cluster()
    equal([f"{broker['host']}:{broker['port']}" for broker in cluster["brokers"]], [BOOTSTRAP], "brokers")
    node = cluster["brokers"][0]["node_id"]
    equal(cluster["controller_id"], node, "controller")
    described = (await admin.describe_topics([topic]))[0]
    parts = sorted((part["partition"], part["leader"], part["replicas"], part["isr"]) for part in described["partitions"])
    equal(parts, [(number, node, [node], [node]) for number in range(PARTITIONS)], "partitions")
    equal(topic in await admin.list_topics(), True, "the topic is listed")


def record(number):
    headers = [("n", b"%d" % number), ("n", b"")]
    return number % PARTITIONS, b"key %d" % number, b"value %d " % number * 20, headers, BASE_TIME + number


def records_with(codec):
    async def check():
        topic = await create()
        sent = [record(number) for number in range(1500)]
        offsets = await produce(topic, sent, compression_type=codec)
        equal(offsets, [number // PARTITIONS for number in range(1500)], "acknowledged offsets")
        async with assigned(topic) as reader:
            found = {(record.partition, record.offset): record for record in await read(reader, len(sent))}
        for offset, (partition, key, value, headers, timestamp) in zip(offsets, sent):
            back = found[partition, offset]
            equal((back.key, back.value, back.timestamp), (key, value, timestamp), f"record at {partition}/{offset}")
            equal(list(back.headers), headers, "headers")

    check.__name__ = f"fifteen hundred records with {codec} come back as they were sent"
    return check


async def null_and_empty_values_and_missing_keys_are_told_apart():
    topic = await create(1)
    sent = [(b"k", None), (b"", b""), (None, b"v")]
    await produce(topic, [(0, key, value, None, None) for key, value in sent])
    async with assigned(topic, 1) as reader:
        equal([(record.key, record.value) for record in await read(reader, 3)], sent, "keys and values")


async def order_is_kept_within_a_partition():
    topic = await create(1)
    equal(await produce(topic, numbers(range(3000)), enable_idempotence=True), list(range(3000)), "acknowledged offsets")
    async with assigned(topic, 1) as reader:
        records = await read(reader, 3000)
    equal([(record.offset, int(record.value)) for record in records], [(n, n) for n in range(3000)], "offsets and values")


async def records_are_kept_whatever_acknowledgement_is_asked_for():
    topic = await create(1)
    for acks in ("all", 1, 0):
        async with producer(acks=acks) as sender:
            for number in range(10):
                await sender.send_and_wait(topic, b"%d" % number)
    equal(await read_numbers(topic, 30), [*range(10)] * 3, "values")


async def a_batch_made_by_hand_is_stored_as_one():
    topic = await create(1)
    async with producer(enable_idempotence=True) as sender:
        for first in (0, 100):
            batch = sender.create_batch()
            for number in range(first, first + 100):
                batch.append(key=None, value=b"%d" % number, timestamp=BASE_TIME + number)
            metadata = await (await sender.send_batch(batch, topic, partition=0))
            equal(metadata.offset, first, "offset of the batch")
    equal(await read_numbers(topic, 200), [*range(200)], "values")


async def big_messages_pass_where_their_topic_takes_them():
    topic, value = await create(1, {"max.message.bytes": "6000000"}), b"big " * 1_000_000
    records = [(0, None, value, None, None), (0, None, b"small", None, None)]
    equal(await produce(topic, records, max_request_size=6_000_000), [0, 1], "offsets")
    # The first record comes whole, also to a reader that asks for less.
    async with assigned(topic, 1, max_partition_fetch_bytes=1000, fetch_max_bytes=1000) as reader:
        equal([record.value for record in await read(reader, 2)], [value, b"small"], "values")


async def a_too_large_record_is_refused():
    topic = await create(1)
    large = [(0, None, os.urandom(1_500_000), None, None)]
    await refused(produce(topic, large, max_request_size=3_000_000), MessageSizeTooLargeError)
    equal(await produce(topic, numbers([0])), [0], "offset of the next one")


async def offsets_are_found_by_end_and_by_time():
    topic = await create(1)
    await produce(topic, [(0, None, b"x", None, BASE_TIME + 10 * number) for number in range(100)])
    part = TopicPartition(topic, 0)
    async with assigned(topic, 1) as reader:
        equal((await reader.beginning_offsets([part]), await reader.end_offsets([part])), ({part: 0}, {part: 100}), "ends")
        found = (await reader.offsets_for_times({part: BASE_TIME + 495}))[part]
        equal((found.offset, found.timestamp), (50, BASE_TIME + 500), "offset by time")
        equal((await reader.offsets_for_times({part: BASE_TIME + 5000}))[part], None, "offset after the last time")


async def a_reader_goes_where_it_is_sent():
    topic = await create(1)
    await produce(topic, numbers(range(100)))
    part = TopicPartition(topic, 0)
    async with assigned(topic, 1) as reader:
        for offset, count in ((0, 100), (90, 10), (50, 50)):
            reader.seek(part, offset)
            equal([record.offset for record in await read(reader, count)], [*range(offset, 100)], f"offsets from {offset} on")
        await reader.seek_to_end(part)
        equal(await reader.position(part), 100, "position at the end")
        await read(reader, 0)
        await reader.seek_to_beginning(part)
        await read(reader, 100)
        equal(reader.highwater(part), 100, "high watermark")


async def a_reader_can_pause_a_partition():
    topic = await create(2)
    await produce(topic, numbers(range(20), 2))
    async with assigned(topic, 2) as reader:
        reader.pause(TopicPartition(topic, 1))
        equal({record.partition for record in await read(reader, 10)}, {0}, "partitions")
        reader.resume(TopicPartition(topic, 1))
        equal({record.partition for record in await read(reader, 10)}, {1}, "partitions")


async def an_offset_out_of_range_is_refused():
    topic = await create(1)
    await produce(topic, numbers([0]))
    async with assigned(topic, 1, auto_offset_reset="none") as reader:
        reader.seek(TopicPartition(topic, 0), 100)
        await refused(read(reader, 1), OffsetOutOfRangeError)


async def a_group_goes_on_where_it_committed():
    topic, group = await create(), fresh("group")
    await produce(topic, numbers(range(300), PARTITIONS))
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    async with consumer(topic, group_id=group) as reader:
        await read(reader, 300)
        notes = {part: (100, f"note {part.partition}") for part in parts}
        await reader.commit(notes)
        equal([await reader.committed(part) for part in parts], [100, 100, 100], "committed offsets")
    stored = await admin.list_consumer_group_offsets(group)
    equal({part: tuple(offset) for part, offset in stored.items()}, notes, "stored offsets and their notes")
    await produce(topic, numbers(range(300, 330), PARTITIONS))
    async with consumer(topic, group_id=group, enable_auto_commit=True) as reader:
        equal(sorted(int(record.value) for record in await read(reader, 30)), [*range(300, 330)], "values of the second run")
    stored = await admin.list_consumer_group_offsets(group, partitions=parts)
    equal([stored[part].offset for part in parts], [110, 110, 110], "offsets that the client committed by itself")


class Member:
    """A consumer on a task of its own: it reads until it is told to leave."""

    def __init__(self, topic, group, **settings):
        self.held, self.values, self.leaving = [], [], False
        self.task = loop.create_task(self.live(topic, group, settings))

    async def live(self, topic, group, settings):
        async with consumer(topic, group_id=group, **settings) as reader:
            while not self.leaving:
                for some in (await reader.getmany(timeout_ms=50)).values():
                    self.values += [int(record.value) for record in some]
                self.held = sorted(part.partition for part in reader.assignment())
        self.held = []

    async def leave(self):
        self.leaving = True
        await asyncio.wait_for(self.task, 20)


async def balanced(members, shares):
    def question():
        for member in members:
            if member.task.done():
                member.task.result()
        held = [partition for member in members for partition in member.held]
        return sorted(len(member.held) for member in members) == shares and len(held) == len(set(held))

    await eventually(question, f"shares {shares}", 40)


def rebalancing(assignor):
    async def check():
        topic, group, settings = await create(4), fresh("group"), {"partition_assignment_strategy": (assignor,)}
        first = Member(topic, group, **settings)
        await balanced([first], [4])
        second = Member(topic, group, **settings)
        await balanced([first, second], [2, 2])
        await produce(topic, numbers(range(400), 4))
        await eventually(lambda: len(first.values) + len(second.values) >= 400, "all records")
        equal(sorted(first.values + second.values), [*range(400)], "each record once, over both members")
        await second.leave()
        await balanced([first], [4])
        await first.leave()

    check.__name__ = f"members share, join and leave a group with {assignor.name}"
    return check


async def a_killed_member_loses_its_partitions():
    topic, group = await create(4), fresh("group")
    first = Member(topic, group)
    await balanced([first], [4])
    script = os.path.join(os.path.dirname(__file__), "member.py")
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, script, BOOTSTRAP, topic, group, stdout=pipe)
    try:
        await balanced([first], [2])
        equal(len((await other.stdout.readline()).split()), 2, "partitions of the other member")
        started = time.monotonic()
        other.kill()
        await balanced([first], [4])
        waited = time.monotonic() - started
        equal(2 < waited < 20, True, f"its partitions came back after {waited:.1f} s, its session lasts 6 s; in time")
    finally:
        if other.returncode is None:
            other.kill()
        await other.wait()
        await first.leave()


async def a_static_member_keeps_its_partitions_over_a_restart():
    topic, group = await create(2), fresh("group")
    first, second = (Member(topic, group, group_instance_id=name) for name in ("a", "b"))
    await balanced([first, second], [1, 1])
    held, kept = first.held, second.held
    await first.leave()
    again = Member(topic, group, group_instance_id="a")
    await balanced([again, second], [1, 1])
    equal((again.held, second.held), (held, kept), "partitions of the returned member and the other")
    await again.leave()
    await second.leave()


async def an_expression_finds_topics_that_come_later():
    name = fresh("pattern")
    await create_topic(f"{name}-a", 1)
    async with consumer(group_id=fresh("group"), metadata_max_age_ms=300) as reader:
        reader.subscribe(pattern=f"^{name}-.*")
        await produce(f"{name}-a", numbers([1]))
        equal([record.topic for record in await read(reader, 1)], [f"{name}-a"], "topic")
        await reader.commit()
        await create_topic(f"{name}-b", 1)
        await produce(f"{name}-b", numbers([2]))
        equal([record.topic for record in await read(reader, 1)], [f"{name}-b"], "topic that came later")


async def groups_are_listed_and_described():
    topic, group = await create(1), fresh("group")
    await produce(topic, numbers([0]))
    member = Member(topic, group)
    await balanced([member], [1])
    equal((group, "consumer") in {entry[:2] for entry in await admin.list_consumer_groups()}, True, "the group is listed")

    async def described():
        _, _, state, _, protocol, members, *_ = (await admin.describe_consumer_groups([group]))[0].groups[0]
        return state, protocol, len(members)

    equal(await described(), ("Stable", "roundrobin", 1), "state, assignor and members")
    await member.leave()
    equal(await described(), ("Empty", "", 0), "without members")


async def records_before_an_offset_can_be_deleted():
    topic = await create(1)
    await produce(topic, numbers(range(10)))
    part = TopicPartition(topic, 0)
    equal(await admin.delete_records({part: RecordsToDelete(before_offset=7)}), {part: 7}, "first offset that is left")
    equal(await read_numbers(topic, 3), [7, 8, 9], "values that are left")
    await refused(admin.delete_records({part: RecordsToDelete(before_offset=11)}), OffsetOutOfRangeError)


async def partitions_and_settings_can_be_changed():
    topic = await create(1, {"retention.ms": "7200000"})

    async def settings():
        answer = (await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}

    equal((await settings())["retention.ms"], "7200000", "retention as created")
    await admin.create_partitions({topic: NewPartitions(4)})
    await eventually(lambda: partition_count(topic, 4), "four partitions")
    await refused(admin.create_partitions({topic: NewPartitions(2)}), InvalidPartitionsError)

    async def alter(value):
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": value})
        for answer in await admin.alter_configs([changed]):
            answered((name, code, message) for code, message, _, name in answer.resources)

    async def changed():
        return (await settings())["retention.ms"] == "3600000"

    await alter("3600000")
    await eventually(changed, "retention.ms is changed")
    await refused(alter("soon"), InvalidConfigurationError)


async def partition_count(topic, expected):
    return len((await admin.describe_topics([topic]))[0]["partitions"]) == expected


async def bad_topics_are_refused():
    topic = await create(1)
    await refused(create_topic(topic), TopicAlreadyExistsError)
    await refused(create_topic("not valid!"), InvalidTopicError)
    await refused(create_topic(fresh("topic"), replicas=7), InvalidReplicationFactorError)
    await refused(create_topic(fresh("topic"), configs={"retention.ms": "soon"}), InvalidConfigurationError)


async def a_topic_is_created_when_something_is_sent_to_it():
    topic = fresh("aiokafka")
    await produce(topic, [(None, b"key", b"7", None, None)])
    equal(await partition_count(topic, PARTITIONS), True, "partitions of a new topic")
    equal(await read_numbers(topic, 1, PARTITIONS), [7], "values")


async def a_deleted_topic_is_gone():
    topic = await create(1)
    await produce(topic, numbers(range(10)))
    answered((await admin.delete_topics([topic])).topic_error_codes)

    async def gone():
        return topic not in await admin.list_topics()

    await eventually(gone, "the topic is gone")
    await create_topic(topic, 1)
    equal(await read_numbers(topic, 0), [], "values in a new topic of that name")

    async def delete_unknown():
        answered((await admin.delete_topics([fresh("topic")])).topic_error_codes)

    await refused(delete_unknown(), UnknownTopicOrPartitionError)


async def send_numbers(sender, topic, some, partitions=1):
    for number in some:
        await sender.send(topic, b"%d" % number, partition=number % partitions)
    await sender.flush()


async def in_transaction(sender, topic, some, partitions=1, commits=True):
    await sender.begin_transaction()
    await send_numbers(sender, topic, some, partitions)
    await (sender.commit_transaction() if commits else sender.abort_transaction())


COMMITTED = {"isolation_level": "read_committed"}


async def a_committed_transaction_is_read_whole_and_an_aborted_one_not_at_all():
    topic = await create()
    async with producer(transactional_id=fresh("id")) as sender:
        await in_transaction(sender, topic, range(300), PARTITIONS)
        await in_transaction(sender, topic, range(300, 600), PARTITIONS, commits=False)
        await in_transaction(sender, topic, range(600, 900), PARTITIONS)
    committed = sorted(await read_numbers(topic, 600, PARTITIONS, **COMMITTED))
    equal(committed, [*range(300), *range(600, 900)], "committed values")
    equal(sorted(await read_numbers(topic, 900, PARTITIONS)), [*range(900)], "all values")


def transactions_with(codec):
    async def check():
        topic = await create(1)
        async with producer(transactional_id=fresh("id"), compression_type=codec) as sender:
            await in_transaction(sender, topic, range(500), commits=False)
            await in_transaction(sender, topic, range(500, 1000))
        equal(await read_numbers(topic, 500, **COMMITTED), [*range(500, 1000)], "committed values")

    check.__name__ = f"a transaction may be compressed with {codec}"
    return check


async def twenty_transactions_in_a_row_keep_their_order():
    topic, expected = await create(1), [number for number in range(20) if number % 7 != 3]
    async with producer(transactional_id=fresh("id")) as sender:
        for number in range(20):
            await in_transaction(sender, topic, [number], commits=number in expected)
    equal(await read_numbers(topic, len(expected), **COMMITTED), expected, "values in order")


async def an_open_transaction_holds_readers_of_committed_records_back():
    topic = await create(1)
    async with producer(transactional_id=fresh("id")) as sender, producer(transactional_id=fresh("id")) as other:
        await sender.begin_transaction()
        await send_numbers(sender, topic, [0])
        await in_transaction(other, topic, [1])
        equal(await read_numbers(topic, 2), [0, 1], "values to readers of everything")
        async with assigned(topic, 1, **COMMITTED) as reader:
            await read(reader, 0)
            part = TopicPartition(topic, 0)
            await eventually(lambda: reader.last_stable_offset(part) == 0, "a last stable offset of 0")
            await sender.commit_transaction()
            equal([int(record.value) for record in await read(reader, 2)], [0, 1], "values in the order of their offsets")


async def offsets_move_with_the_commit_and_stay_with_the_abort():
    topic, group = await create(1), fresh("group")
    part = TopicPartition(topic, 0)
    await produce(topic, numbers(range(10)))

    async def committed():
        return (await admin.list_consumer_group_offsets(group, partitions=[part]))[part].offset

    async with producer(transactional_id=fresh("id")) as sender:
        for offset, commits, expected in ((3, True, 3), (5, False, 3), (6, True, 6)):
            await sender.begin_transaction()
            await send_numbers(sender, topic, [offset])
            await sender.send_offsets_to_transaction({part: offset}, group)
            await (sender.commit_transaction() if commits else sender.abort_transaction())

            async def moved():
                return await committed() == expected

            await eventually(moved, f"committed offset {expected}")


async def a_newer_producer_fences_the_older_one():
    topic, name = await create(1), fresh("id")
    older = producer(transactional_id=name)
    await older.start()
    await older.begin_transaction()
    await send_numbers(older, topic, [0])
    async with producer(transactional_id=name) as newer:
        await refused(older.send_and_wait(topic, b"1", partition=0), ProducerFenced)
        await refused(older.commit_transaction(), ProducerFenced)
        await in_transaction(newer, topic, [2])
    await older.stop()
    equal(await read_numbers(topic, 1, **COMMITTED), [2], "committed values")


async def killed():
    """Lets the broker be killed with -9 and started again, and returns once it is dead: an idle connection to it ends then."""
    host, port = BOOTSTRAP.split(":")
    idle, writer = await asyncio.open_connection(host, int(port))
    print("kill the broker", flush=True)
    try:
        await idle.read()
    except ConnectionError:
        pass
    writer.close()


async def nothing_acknowledged_is_lost_doubled_or_out_of_order_though_the_broker_is_killed():
    topic, sent = await create(), 0
    member = Member(topic, fresh("group"), enable_auto_commit=True, auto_commit_interval_ms=100)
    async with producer(enable_idempotence=True) as sender:
        for _ in range(2):
            death, left = loop.create_task(killed()), 50
            while left > 0:
                left -= death.done()
                await send_numbers(sender, topic, range(sent, sent + 9), PARTITIONS)
                sent += 9
            await death
    async with assigned(topic) as reader:
        records = await read(reader, sent)
    for partition in range(PARTITIONS):
        found = [int(record.value) for record in records if record.partition == partition]
        equal(found, [*range(partition, sent, PARTITIONS)], f"values of partition {partition}")
    await eventually(lambda: len(set(member.values)) == sent, "the member of the group reads everything", 60)
    await member.leave()


def in_the_loop(check):
    """A check that may be called by those who know of no event loop."""
    return functools.wraps(check)(lambda: loop.run_until_complete(check()))


CODECS = ("gzip", "snappy", "lz4", "zstd")
checks = [
    a_created_topic_is_described_with_its_partitions,
    *[records_with(codec) for codec in (None, *CODECS)],
    null_and_empty_values_and_missing_keys_are_told_apart,
    order_is_kept_within_a_partition,
    records_are_kept_whatever_acknowledgement_is_asked_for,
    a_batch_made_by_hand_is_stored_as_one,
    big_messages_pass_where_their_topic_takes_them,
    a_too_large_record_is_refused,
    offsets_are_found_by_end_and_by_time,
    a_reader_goes_where_it_is_sent,
    a_reader_can_pause_a_partition,
    an_offset_out_of_range_is_refused,
    a_group_goes_on_where_it_committed,
    *[rebalancing(assignor) for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)],
    a_killed_member_loses_its_partitions,
    a_static_member_keeps_its_partitions_over_a_restart,
    an_expression_finds_topics_that_come_later,
    groups_are_listed_and_described,
    records_before_an_offset_can_be_deleted,
    partitions_and_settings_can_be_changed,
    bad_topics_are_refused,
    a_topic_is_created_when_something_is_sent_to_it,
    a_deleted_topic_is_gone,
    a_committed_transaction_is_read_whole_and_an_aborted_one_not_at_all,
    *[transactions_with(codec) for codec in CODECS],
    twenty_transactions_in_a_row_keep_their_order,
    an_open_transaction_holds_readers_of_committed_records_back,
    offsets_move_with_the_commit_and_stay_with_the_abort,
    a_newer_producer_fences_the_older_one,
]
if "BROKER_MAY_BE_KILLED" in os.environ:
    checks.append(nothing_acknowledged_is_lost_doubled_or_out_of_order_though_the_broker_is_killed)

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
asyncio.set_event_loop(loop)
admin = AIOKafkaAdminClient(loop=loop, bootstrap_servers=BOOTSTRAP)
loop.run_until_complete(admin.start())
run([in_the_loop(check) for check in checks])
