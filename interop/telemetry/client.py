"""Who pushes metrics, and what of them the node tells: client.py HOST:PORT METRICS_HOST:PORT."""

import os
import re
import subprocess
import sys
import time
import urllib.request

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from checking import equal, eventually, fresh, run

BOOTSTRAP, METRICS = sys.argv[1:]
JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
# Clients whose ids begin so are asked for their metrics.
NAME = fresh("telemetry")
INTERVAL_MS = 500
RECORDS = 250
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def java(class_name, *arguments, **options):
    path = f"{os.environ['CLASSES']}:{os.environ['LIBRARIES']}"
    return subprocess.Popen([*JAVA, "-cp", path, class_name, *arguments], text=True, stdout=subprocess.PIPE, **options)


def tool(*arguments):
    """Kafka's ClientMetricsCommand, to its end; what it writes."""
    process = java("org.apache.kafka.tools.ClientMetricsCommand", "--bootstrap-server", BOOTSTRAP, *arguments)
    output, _ = process.communicate(timeout=90)
    equal(process.returncode, 0, f"exit code of {arguments}: {output}")
    return output


def told():
    """Every value that the node tells: (name, labels, value)."""
    with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    equal(lines[-1], "# EOF", "last line")
    for line in lines:
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.partition("{")
            yield name, dict(LABEL.findall(labels)), float(value)


def values(name, **labels):
    return [value for found, said, value in told() if found == name and labels.items() <= said.items()]


def topic():
    name = fresh("telemetry")
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result()
    return name


class Pusher:
    """The Java clients, which run through several checks."""

    process = None
    topic = None
    ids = {}

    @classmethod
    def start(cls):
        cls.topic = topic()
        cls.process = java("Pusher", BOOTSTRAP, cls.topic, f"{NAME}-java", str(RECORDS), stdin=subprocess.PIPE)
        cls.ids = dict(cls.process.stdout.readline().split() for _ in range(2))

    @classmethod
    def end(cls):
        cls.process.communicate("end\n", timeout=60)
        equal(cls.process.returncode, 0, "exit code of the Java clients")


def kafkas_tool_asks_clients_for_their_metrics():
    asked = ["--metrics", "*", "--interval", str(INTERVAL_MS), "--match", f"client_id={NAME}.*"]
    tool("--alter", "--name", NAME, *asked)
    described = tool("--describe", "--name", NAME)
    for setting in [f"interval.ms={INTERVAL_MS}", "metrics=*", f"match=client_id={NAME}.*"]:
        assert setting in described, described
    assert NAME in tool("--list").split()


def a_java_producer_is_told_by_the_id_that_it_was_given():
    Pusher.start()
    labels = {
        "client_instance_id": Pusher.ids["producer"],
        "client_id": f"{NAME}-java-producer",
        "client_software_name": "apache-kafka-java",
        "client_software_version": "4.3.1",
        "client_source_address": "127.0.0.1",
        "topic": Pusher.topic,
    }
    sent = "org_apache_kafka_producer_topic_record_send_total"
    eventually(lambda: values(sent, **labels) == [RECORDS], f"{sent} of {RECORDS} records")


def what_a_java_consumer_adds_is_summed_up():
    labels = {"client_instance_id": Pusher.ids["consumer"], "group_id": f"{NAME}-java"}
    read = "org_apache_kafka_consumer_fetch_manager_records_consumed_total"
    eventually(lambda: values(read, **labels, topic=Pusher.topic) == [RECORDS], f"{read} of {RECORDS} records")
    polls = "org_apache_kafka_consumer_poll_idle_ratio_avg"
    eventually(lambda: values(polls, **labels), f"{polls}, a gauge")
    beats = "org_apache_kafka_consumer_coordinator_heartbeat_total"
    first = eventually(lambda: values(beats, **labels), beats)
    eventually(lambda: values(beats, **labels) > first, f"{beats} grows from {first}")


def java_clients_push_once_more_before_they_end():
    received = "milena_telemetry_received_total"
    Pusher.end()
    before = values(received)
    # Their intervals are over several times, and nobody pushes any more; what they said last is still told.
    time.sleep(4 * INTERVAL_MS / 1000)
    equal(values(received), before, received)
    closed = "org_apache_kafka_producer_connection_close_total"
    equal(len(values(closed, client_instance_id=Pusher.ids["producer"])), 1, closed)


def librdkafka_is_told_as_well():
    name = topic()
    base = {"bootstrap.servers": BOOTSTRAP, "enable.metrics.push": True}
    producer = Producer({**base, "client.id": f"{NAME}-c-producer"})
    consumer = Consumer(
        {**base, "client.id": f"{NAME}-c-consumer", "group.id": NAME, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([name])
    for number in range(RECORDS):
        producer.produce(name, str(number))
    equal(producer.flush(30), 0, "records without an answer")
    # Its counters begin when it is asked for them, and a connection is opened before.
    wanted = {
        "producer": ("org_apache_kafka_producer_node_request_latency_avg", {"node_id": "1"}),
        "consumer": ("org_apache_kafka_consumer_connection_creation_total", {"group_id": NAME}),
    }
    by_client = {
        name: {**labels, "client_id": f"{NAME}-c-{kind}", "client_software_name": "confluent-kafka-python"}
        for kind, (name, labels) in wanted.items()
    }

    def all_are_told():
        consumer.poll(0.1)
        return all(values(name, **labels) for name, labels in by_client.items())

    eventually(all_are_told, f"all of {by_client}")
    latency_ms = values(wanted["producer"][0], **by_client[wanted["producer"][0]])[0]
    assert latency_ms > 0, latency_ms
    consumer.close()


def whoever_is_not_meant_pushes_nothing():
    name = fresh("other")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.metrics.push": True, "client.id": name})
    producer.produce(topic(), "x")
    equal(producer.flush(30), 0, "records without an answer")
    time.sleep(4 * INTERVAL_MS / 1000)
    equal([metric for metric, labels, _ in told() if labels.get("client_id") == name], [], "metrics of that client")


def kafkas_tool_takes_it_back():
    tool("--delete", "--name", NAME)
    eventually(lambda: NAME not in tool("--list").split(), "the subscription is gone")


run(
    [
        kafkas_tool_asks_clients_for_their_metrics,
        a_java_producer_is_told_by_the_id_that_it_was_given,
        what_a_java_consumer_adds_is_summed_up,
        java_clients_push_once_more_before_they_end,
        librdkafka_is_told_as_well,
        whoever_is_not_meant_pushes_nothing,
        kafkas_tool_takes_it_back,
    ]
)
