"""A member of a group that lives until it is killed: member.py HOST:PORT TOPIC GROUP. Prints what it is assigned."""

import sys

from confluent_kafka import Consumer

consumer = Consumer(
    {"bootstrap.servers": sys.argv[1], "group.id": sys.argv[3], "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
)
consumer.subscribe(
    [sys.argv[2]], on_assign=lambda _, assigned: print(*sorted(part.partition for part in assigned), flush=True)
)
while True:
    consumer.poll(0.1)
