"""Feast's own Redis online store, as it is, on TileKV and on redis-server: both tell the same
story and must answer alike. Then the time of get_online_features on both, in turns, and the share
of it that is Feast's own Python.

    python tests/python/feast_redis.py [--rounds N]

TILEKV_TEST_SERVER names the server's binary.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
import redis
from feast_repository import FEATURES, USERS, entity_rows, feature_store, feature_views
from feast_story import tell
from servers import RedisServer, TileKVServer


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=100)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        names = ("TileKV", "Redis")
        for name in names:
            (folder / name).mkdir()
        with TileKVServer(folder / "TileKV") as tilekv, RedisServer(folder / "Redis") as other:
            servers = dict(zip(names, (tilekv, other), strict=True))
            stores = {name: redis_store(folder / name, servers[name]) for name in names}
            told = {name: tell(stores[name], folder / name) for name in names}
            assert told["TileKV"] == told["Redis"], "both stores answer alike"
            for name in names:
                torn_down(stores[name], servers[name])
            print(f"{len(told['TileKV'])} answers of Feast on TileKV are those on Redis")
            measure(stores, folder, options.rounds)


def redis_store(folder, server):
    return feature_store(folder, {"type": "redis", "connection_string": server.address})


def torn_down(store, server):
    client = redis.Redis(port=server.port)
    assert client.dbsize() > 0
    store.teardown()
    assert client.dbsize() == 0, "tearing down leaves no key"


def measure(stores, folder, rounds):
    for name, store in stores.items():
        store.apply(feature_views(folder / name))
        store.materialize_incremental(end_date=_end())
    rows = entity_rows(range(USERS))
    took = {name: [] for name in stores}
    inside = {name: [] for name in stores}
    for name, store in stores.items():
        _count_reads(store.provider.online_store, inside[name])
    for turn in range(rounds + 5):
        for name, store in stores.items():
            started = time.perf_counter()
            found = store.get_online_features(FEATURES, rows)
            elapsed = time.perf_counter() - started
            assert len(found.to_dict()["spend"]) == USERS
            if 5 <= turn:
                took[name].append(elapsed)
    print(f"get_online_features, {USERS} entities, 3 features of 2 views, {rounds} rounds")
    print(f"{'':8}{'p50 us':>10}{'p99 us':>10}{'least':>10}{'most':>10}{'in Feast':>10}")
    for name in stores:
        times, waits = took[name], inside[name][5:]
        figures = [np.percentile(times, 50), np.percentile(times, 99), min(times), max(times)]
        share = 1 - sum(waits) / sum(times)
        print(f"{name:8}" + "".join(f"{f * 1e6:10.0f}" for f in figures) + f"{share:10.0%}")


def _count_reads(online_store, waits):
    """Takes the time of what talks to the server: all else is Feast's own."""
    read = online_store._read_hash_fields

    def timed(*arguments):
        started = time.perf_counter()
        found = read(*arguments)
        waits.append(time.perf_counter() - started)
        return found

    online_store._read_hash_fields = timed


def _end():
    from feast_repository import NOW

    return NOW


if __name__ == "__main__":
    main()
