"""300,000 commands in one go: python3 pipeline.py (name address)..; an address is a port or the
path of a socket.

redis-py sends a whole pipeline before it reads the first reply, so a server that stops reading
while its replies wait would never finish. Each server is timed; the times are printed.
"""

import sys
import time

import redis

COMMANDS = 300_000


def run(address):
    place = {"port": int(address)} if address.isdigit() else {"unix_socket_path": address}
    client = redis.Redis(socket_timeout=120, **place)
    client.flushdb()
    started = time.monotonic()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(COMMANDS // 3):
            pipeline.hset(f"u:{number % 1000}", f"f{number % 50}", "x" * 100)
            pipeline.hgetall(f"u:{number % 1000}")
            pipeline.ping()
        replies = pipeline.execute()
    seconds = time.monotonic() - started
    assert len(replies) == COMMANDS, len(replies)
    assert all(reply is True for reply in replies[2::3])
    assert replies[-2][f"f{(COMMANDS // 3 - 1) % 50}".encode()] == b"x" * 100, replies[-2]
    client.flushdb()
    return seconds


if __name__ == "__main__":
    pairs = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    for name, address in pairs:
        print(f"300,000 commands through {name}: {run(address):.2f} s")
