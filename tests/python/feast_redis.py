"""Feast's own Redis online store, as it is, on TileKV and on redis-server: both tell the same
story and must answer alike. Then the time of get_online_features on both and on TileKV through its
plugin, in turns, and the share of it that is Feast's own Python.

    python tests/python/feast_redis.py [--rounds N]

TILEKV_TEST_SERVER names the server's binary.
"""

import argparse
import contextlib
import datetime as dt
import io
import pathlib
import tempfile
import time

import numpy as np
import redis
from feast_repository import FEATURES, NOW, USERS, entity_rows, feature_store, feature_views
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
            with quiet():
                told = {name: tell(stores[name], folder / name) for name in names}
            assert told["TileKV"] == told["Redis"], "both stores answer alike"
            for name in names:
                torn_down(stores[name], servers[name])
            print(f"{len(told['TileKV'])} answers of Feast on TileKV are those on Redis")
            (folder / "plugin").mkdir()
            plugin = {"type": "feast_tilekv.TileKVOnlineStore", "address": tilekv.address}
            stores["plugin"] = feature_store(folder / "plugin", plugin)
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
        with quiet():
            store.apply(feature_views(folder / name))
            store.materialize(NOW - dt.timedelta(days=2), NOW)
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
            assert found.to_dict()["spend"][-1] == USERS - 0.5
            if 5 <= turn:
                took[name].append(elapsed)
    print(f"get_online_features, {USERS} entities, 3 features of 2 views, {rounds} rounds")
    print(f"{'':8}{'p50 us':>10}{'p99 us':>10}{'least':>10}{'most':>10}{'Python':>10}")
    for name in stores:
        times, waits = took[name], inside[name][5:]
        figures = [np.percentile(times, 50), np.percentile(times, 99), min(times), max(times)]
        share = 1 - sum(waits) / sum(times)
        print(f"{name:8}" + "".join(f"{f * 1e6:10.0f}" for f in figures) + f"{share:10.0%}")


def _count_reads(online_store, waits):
    """Takes the time of what talks to the server: all else is Python of Feast or the plugin."""
    if hasattr(online_store, "_read_hash_fields"):
        talker, name = online_store, "_read_hash_fields"
    else:
        talker, name = online_store._client, "gather"
    talk = getattr(talker, name)

    def timed(*arguments, **options):
        started = time.perf_counter()
        found = talk(*arguments, **options)
        waits.append(time.perf_counter() - started)
        return found

    setattr(talker, name, timed)


def quiet():
    """Without what Feast prints of its progress."""
    return contextlib.redirect_stdout(io.StringIO())


if __name__ == "__main__":
    main()
