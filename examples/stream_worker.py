"""A consumer of one partition of a topic. Its offsets are the producer's sequences, so that every
event counts once: the server keeps the last offset with the data, and the worker goes on behind
it. It needs no offsets of its own, and may be killed at any moment."""

import os
import sys

import tilekv

VIEW, PARTITION = "payments", "payments-0"
BATCH = 50


def topic(partition, after):
    """The events of a partition behind an offset, in batches: what a Kafka client gives."""
    events = [
        {"entity": f"u:{number % 5}", "time": 1_767_225_600_000 + number * 1000, "amount": 1.0}
        for number in range(1000)
    ]
    start = 0 if after is None else after + 1
    for first in range(start, len(events), BATCH):
        batch = events[first : first + BATCH]
        yield first + len(batch) - 1, batch


def main():
    stop_after = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with tilekv.Client(os.environ.get("TILEKV_ADDRESS", "127.0.0.1:8453")) as client:
        if VIEW not in client.views():
            features = {"payments": "count()", "paid": "sum(amount)"}
            client.create_view(VIEW, tile="1m", columns={"amount": "f64"}, features=features)
        with client.producer(VIEW, PARTITION) as producer:
            print("goes on behind", producer.last())
            # One sequence for a batch: the offset of its last event.
            for count, (offset, batch) in enumerate(topic(PARTITION, producer.last()), 1):
                producer.send(offset, batch)
                if count == stop_after:
                    os._exit(1)  # As a crash would: what was acknowledged stays, once.
        users = [f"u:{number}" for number in range(5)]
        result = client.window_mget(VIEW, users, ["payments@1h"], at=1_767_229_200_000)
        print("payments:", result["payments@1h"].values.tolist())


if __name__ == "__main__":
    main()
