"""Plain feature views: their latest values are records."""

from feast_repository import FEATURES, entity_rows, feature_store, feature_views
from feast_story import tell


def test_the_plugin_tells_the_story_of_any_online_store(store, client, tmp_path):
    assert len(tell(store, tmp_path)) == 6
    pattern = f"feast:{store.project}:*"
    assert scanned(client, pattern)
    store.teardown()
    assert scanned(client, pattern) == []


def test_all_feature_views_are_one_round_trip(store, tmp_path, monkeypatch):
    store.apply(feature_views(tmp_path))
    trips = []
    client = store.provider.online_store._sync(store.config)
    gather = client.gather
    monkeypatch.setattr(client, "gather", lambda *a, **k: trips.append(a) or gather(*a, **k))
    store.get_online_features(FEATURES, entity_rows([1, 2]))
    [(reads, commands)] = trips
    assert reads == [] and [command[0] for command in commands] == ["HMGET"] * 4


def test_names_of_projects_do_not_run_into_one_another(server, client, tmp_path):
    online_store = {"type": "feast_tilekv.TileKVOnlineStore", "address": server.address}
    stores = []
    for project in ("a_", "a_b"):
        folder = tmp_path / project
        folder.mkdir()
        store = feature_store(folder, online_store, project)
        store.apply(feature_views(folder))
        stores.append((store, folder))
    for store, _ in stores:
        store.write_to_online_store("user_stats", row())
    stores[0][0].teardown()
    found = stores[1][0].get_online_features(["user_stats:spend"], entity_rows([5])).to_dict()
    assert found["spend"] == [1.5]
    stores[1][0].teardown()


def test_records_expire_where_it_is_said(server, client, tmp_path):
    online_store = {
        "type": "feast_tilekv.TileKVOnlineStore",
        "address": server.address,
        "key_ttl_seconds": 1000,
    }
    store = feature_store(tmp_path, online_store, "expiring")
    store.apply(feature_views(tmp_path))
    store.write_to_online_store("user_stats", row())
    [key] = scanned(client, "feast:expiring:*")
    assert 990 <= client.command("TTL", key) <= 1000
    store.teardown()


def row():
    import pandas as pd
    from feast_repository import NOW

    values = {"user_id": [5], "event_timestamp": [NOW], "spend": [1.5], "orders": [1]}
    return pd.DataFrame(values)


def scanned(client, pattern):
    keys, cursor = [], b"0"
    while True:
        cursor, found = client.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        keys += found
        if cursor == b"0":
            return keys
