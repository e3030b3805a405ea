"""A member of a group that lives until it is killed: member.py HOST:PORT TOPIC GROUP. Prints what it is assigned."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener


class Printing(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        pass

    async def on_partitions_assigned(self, assigned):
        print(*sorted(part.partition for part in assigned), flush=True)


async def live():
    bootstrap, topic, group = sys.argv[1:]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=200
    )
    consumer.subscribe([topic], listener=Printing())
    await consumer.start()
    while True:
        await consumer.getmany(timeout_ms=100)


asyncio.run(live())
