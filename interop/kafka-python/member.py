"""A member of a group that lives until it is killed: member.py HOST:PORT TOPIC GROUP."""

import sys

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[3], session_timeout_ms=6000, heartbeat_interval_ms=500
)
while True:
    consumer.poll(100)
