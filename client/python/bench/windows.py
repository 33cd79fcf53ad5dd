"""A batch read from Python: 3 windows of 200 entities, from TileKV and from Redis, in one run.

Redis holds a hash for each entity, a field for each day that has data: 24 bytes (sum, count,
greatest). It is read with redis-py and hiredis in one pipeline of HGETALL, and NumPy sums all
entities up together. TileKV holds the same days as tiles and answers the sums. Both run on
loopback and take turns of 25 requests, as a caller under traffic sees them; each request names
other entities, and the answers are compared.

    python client/python/bench/windows.py [--rounds N] [--entities N] [--check]

TILEKV_TEST_SERVER names the server's binary; it should be a release build.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np
import redis
import tilekv

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "python"))

from servers import RedisServer, TileKVServer  # noqa: E402

DAY = 86_400_000
DAYS = 90
DAYS_WITH_DATA = 27
WINDOWS = (7, 30, 90)
BATCH = 200
TURN = 25
# 2026-04-01T00:00:00Z: the day after the last one.
END = 1_775_001_600_000
FIELD = np.dtype([("sum", "<f8"), ("count", "<i8"), ("greatest", "<f8")])
RATIO_MUST = 10


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=500)
    options.add_argument("--entities", type=int, default=20_000)
    options.add_argument("--check", action="store_true", help="fail below the ratio that must be")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with TileKVServer(folder) as server, RedisServer(folder) as other:
            ratio = compare(server, other, options)
    if options.check and ratio < RATIO_MUST:
        sys.exit(f"{ratio:.1f}x is less than {RATIO_MUST}x")


def compare(server, other, options):
    random = np.random.default_rng(1)
    client = tilekv.Client(server.address)
    peer = redis.Redis(port=other.port)
    load(client, peer, random, options.entities)
    times = {"TileKV": [], "Redis": []}
    for turn in range(options.rounds // TURN + 1):
        chosen = random.integers(0, options.entities, (TURN, BATCH))
        batches = [[f"u:{n}" for n in row] for row in chosen.tolist()]
        found = [timed(read_tilekv, client, entities) for entities in batches]
        expected = [timed(read_redis, peer, entities) for entities in batches]
        for (took, ours), (peer_took, theirs) in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
            if turn:  # The first turn warms both up.
                times["TileKV"].append(took)
                times["Redis"].append(peer_took)
    return report(times, options)


def report(times, options):
    from redis.utils import HIREDIS_AVAILABLE

    assert HIREDIS_AVAILABLE, "install hiredis: the comparison is with the fast parser"
    print(f"{BATCH} of {options.entities} entities, {len(WINDOWS)} windows each")
    print(f"{'':8}{'p50':>10}{'p99':>10}{'least':>10}{'most':>10}  microseconds")
    for name, took in times.items():
        figures = [np.percentile(took, 50), np.percentile(took, 99), min(took), max(took)]
        print(f"{name:8}" + "".join(f"{figure * 1e6:10.0f}" for figure in figures))
    ratio = np.median(times["Redis"]) / np.median(times["TileKV"])
    print(f"Redis / TileKV at p50: {ratio:.1f}")
    return ratio


def timed(read, *arguments):
    started = time.perf_counter()
    found = read(*arguments)
    return time.perf_counter() - started, found


def load(client, peer, random, count):
    features = {"spend": "sum(amount)", "orders": "count(amount)", "dearest": "max(amount)"}
    client.create_view("shop", tile="1d", columns={"amount": "f64"}, features=features)
    days = np.stack([random.permutation(DAYS)[:DAYS_WITH_DATA] for _ in range(count)])
    amounts = random.random(days.shape).round(2)
    starts = END - DAY * (DAYS - days)
    entities = np.repeat([f"u:{n}" for n in range(count)], DAYS_WITH_DATA)
    frame = {"entity": entities, "time": starts.ravel(), "amount": amounts.ravel()}
    with client.job("shop", END - DAY * DAYS, END) as job:
        job.write(frame)
    fields = np.zeros(days.shape, FIELD)
    fields["sum"], fields["count"], fields["greatest"] = amounts, 1, amounts
    pipeline = peer.pipeline(transaction=False)
    for number in range(count):
        keys = (int(day).to_bytes(8, "little") for day in days[number])
        values = (field.tobytes() for field in fields[number])
        pipeline.hset(f"u:{number}", mapping=dict(zip(keys, values, strict=True)))
        if number % 1000 == 999:
            pipeline.execute()
    pipeline.execute()


def read_tilekv(client, entities):
    windows = [f"spend@{days}d" for days in WINDOWS]
    return client.window_mget("shop", entities, windows, at=END).matrix(fill=0.0)


def read_redis(peer, entities):
    """All tiles of all entities come as bytes; NumPy takes them over and sums them up at once."""
    pipeline = peer.pipeline(transaction=False)
    for entity in entities:
        pipeline.hgetall(entity)
    hashes = pipeline.execute()
    lengths = np.fromiter(map(len, hashes), np.int64, len(hashes))
    rows = np.repeat(np.arange(len(hashes)), lengths)
    days = np.frombuffer(b"".join(b"".join(tiles) for tiles in hashes), "<i8")
    tiles = np.frombuffer(b"".join(b"".join(tiles.values()) for tiles in hashes), FIELD)
    found = np.empty((len(hashes), len(WINDOWS)))
    for index, window in enumerate(WINDOWS):
        sums = np.where(DAYS - window <= days, tiles["sum"], 0.0)
        found[:, index] = np.bincount(rows, sums, len(hashes))
    return found


if __name__ == "__main__":
    main()
