"""A member of a group that lives until it is killed: member.py HOST:PORT TOPIC GROUP PROTOCOL. Prints what it is assigned."""

import sys

from confluent_kafka import Consumer

settings = {"bootstrap.servers": sys.argv[1], "group.id": sys.argv[3], "group.protocol": sys.argv[4]}
if sys.argv[4] == "classic":
    settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
consumer = Consumer(settings)
consumer.subscribe(
    [sys.argv[2]], on_assign=lambda _, assigned: print(*sorted(part.partition for part in assigned), flush=True)
)
while True:
    consumer.poll(0.1)
