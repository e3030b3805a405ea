"""Writes rising numbers with an idempotent producer, and keeps the list of what was acknowledged.

    load.py HOST:PORT TOPIC PARTITIONS FILE

FILE gets a line `partition offset value` per acknowledged record. Twenty times a second stdout gets a line
`in-flight acknowledged`. A line `pause` on stdin stops new records, `go` lets them flow again; after `stop` everything
in flight is waited for, and the last line is `sent N`.
"""

import sys
import threading
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

# Enough that a thousand are always in flight, few enough that the killed server is never far behind.
IN_FLIGHT_MAX = 4000


def main(bootstrap, topic, partitions, path):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    fault = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "error_cb": lambda error: fault.append(error) if error.fatal() else None,
            # A restart may take a while: nothing is given up.
            "message.timeout.ms": 0,
            "linger.ms": 5,
            "batch.num.messages": 500,
            # Refused connections while the server is down are what is wanted here.
            "log_level": 0,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
            "retry.backoff.ms": 20,
        }
    )
    told = ["go"]
    threading.Thread(target=lambda: [told.append(line.strip()) for line in sys.stdin], daemon=True).start()

    sent, acknowledged = 0, 0
    with open(path, "w", encoding="ascii", buffering=1 << 16) as file:

        def delivered(error, record):
            nonlocal acknowledged
            if error is not None:
                fault.append(error)
                return
            file.write(f"{record.partition()} {record.offset()} {record.value().decode()}\n")
            acknowledged += 1

        report_at = 0.0
        while told[-1] != "stop" or sent > acknowledged:
            if told[-1] == "go" and sent - acknowledged < IN_FLIGHT_MAX:
                for _ in range(100):
                    producer.produce(topic, str(sent), partition=sent % partitions, on_delivery=delivered)
                    sent += 1
                producer.poll(0)
            else:
                producer.poll(0.01)
            if fault:
                sys.exit(f"the load was refused: {fault[0]}")
            if time.monotonic() >= report_at:
                file.flush()
                print(sent - acknowledged, acknowledged, flush=True)
                report_at = time.monotonic() + 0.05
    print(f"sent {sent}", flush=True)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
