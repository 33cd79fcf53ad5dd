"""A producer that outlives its server: python3 writer.py host port view id.

It pipelines TILE.MADD of sequences 1, 2, .. over RESP with sockets of its own, and prints "ack n"
once a reply has arrived: that output is the log of what was acknowledged, kept by a process that
is neither the server nor the test. After a lost connection it sends everything again from the
first sequence without an acknowledgement. It stops when its standard input ends, acknowledges
what is under way, and prints "end n". Whatever contradicts "once each" ends it with status 1.
"""

import select
import socket
import sys
import time

PIPELINE = 24
FIRST_TILE = 1_700_000_000_000 // 60_000
TILES = 500
SHARED_ENTITIES = 11
RETRY_S = 0.005
GIVE_UP_S = 60


class Lost(Exception):
    """The connection ended."""


class Connection:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=GIVE_UP_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")

    def send(self, commands):
        self.socket.sendall(b"".join(encode(command) for command in commands))

    def receive(self):
        line = self.replies.readline()
        if not line.endswith(b"\r\n"):
            raise Lost
        return line[:-2].decode()

    def close(self):
        self.socket.close()


def encode(command):
    words = [str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def write_of(view, producer, sequence):
    timestamp = (FIRST_TILE + sequence % TILES) * 60_000
    rows = [producer, timestamp, sequence, f"e{sequence % SHARED_ENTITIES}", timestamp, sequence]
    stamp = ["PRODUCER", producer, sequence, "AFTER", sequence - 1 if 1 < sequence else "-"]
    return ["TILE.MADD", view, *stamp, "COLUMNS", 1, "amount", "ROWS", 2, *rows]


class Writer:
    def __init__(self, host, port, view, producer):
        self.address, self.view, self.producer = (host, port), view, producer
        self.acknowledged = 0
        self.stopping = False

    def run(self):
        began = time.monotonic()
        while not self.stopping:
            before = self.acknowledged
            try:
                self.converse()
            except (Lost, OSError):
                time.sleep(RETRY_S)
            if before < self.acknowledged:
                began = time.monotonic()
            elif GIVE_UP_S < time.monotonic() - began:
                sys.exit(f"nothing was acknowledged for {GIVE_UP_S} s")
        print("end", self.acknowledged, flush=True)

    def converse(self):
        """Writes over one connection until it is lost or the test ends."""
        connection = Connection(*self.address)
        try:
            applied = self.last_applied(connection)
            while not self.stopping:
                self.stopping = bool(select.select([sys.stdin], [], [], 0)[0])
                first = self.acknowledged + 1
                sequences = range(first, max(first + PIPELINE, applied + 1))
                connection.send([write_of(self.view, self.producer, s) for s in sequences])
                for sequence in sequences:
                    self.acknowledge(sequence, connection.receive(), applied)
        except (Lost, OSError):
            self.stopping = False
            raise
        finally:
            connection.close()

    def last_applied(self, connection):
        connection.send([["PRODUCER.GET", self.view, self.producer]])
        reply = connection.receive()
        applied = 0 if reply == "$-1" else int(reply.removeprefix(":"))
        if applied < self.acknowledged:
            sys.exit(f"{self.acknowledged} was acknowledged, the server knows {applied}")
        return applied

    def acknowledge(self, sequence, reply, applied):
        expected = ":0" if sequence <= applied else ":2"
        if reply != expected:
            sys.exit(f"sequence {sequence} with {applied} applied: {reply}, expected {expected}")
        self.acknowledged = sequence
        print("ack", sequence, flush=True)


if __name__ == "__main__":
    Writer(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]).run()
