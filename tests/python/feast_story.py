"""The story of a feature repository, told to any online store: apply, materialise, write, read in
both faces, delete, tear down. It asserts every answer; what it gives back can be compared between
stores. Knows nothing of servers."""

import asyncio
import datetime as dt

import pandas as pd
from feast_repository import (
    FEATURES,
    NOW,
    PAIR_FEATURES,
    USERS,
    entity_rows,
    feature_views,
    pair_rows,
)

UNKNOWN = 10_000


def tell(store, folder):
    """Tells the story; gives all answers, in order."""
    answers = []
    views = feature_views(folder)
    store.apply(views)
    assert _read(store, answers, FEATURES, entity_rows([1]))["spend"] == [None]

    store.materialize(NOW - dt.timedelta(days=2), NOW)
    users = [*range(USERS), UNKNOWN]
    found = _read(store, answers, FEATURES, entity_rows(users))
    assert found["spend"] == [*(number + 0.5 for number in range(USERS)), None]
    assert found["orders"] == [*(2 * number + 1 for number in range(USERS)), None]
    assert found["city"] == [*(f"city {number % 3}" for number in range(USERS)), None]
    found = _read(store, answers, PAIR_FEATURES, pair_rows([3, 4]))
    assert found["spend"] == [3.5, 4.5]

    store.write_to_online_store("user_stats", _rows([1, UNKNOWN], NOW, [100.0, 200.0]))
    store.write_to_online_store("user_stats", _rows([1], NOW - dt.timedelta(days=1), [-1.0]))
    found = _read(store, answers, FEATURES, entity_rows([1, 2, UNKNOWN]))
    assert found["spend"] == [100.0, 2.5, 200.0], "the newest value stays"
    assert found["city"] == ["city 1", "city 2", None]

    asyncio.run(_write_async(store))
    found = _read(store, answers, FEATURES, entity_rows([2]))
    assert found["spend"] == [300.0]

    deleted = next(view for view in views if view.name == "user_places")
    store.apply([], objects_to_delete=[deleted], partial=False)
    stats = ["user_stats:spend"]
    found = _read(store, answers, stats, entity_rows([1]))
    assert found["spend"] == [100.0], "deleting a view leaves the others"
    return answers


def _read(store, answers, features, rows):
    found = store.get_online_features(features, rows).to_dict()
    again = asyncio.run(_read_async(store, features, rows))
    assert found == again, "both faces answer the same"
    answers.append(found)
    return found


async def _read_async(store, features, rows):
    try:
        return (await store.get_online_features_async(features, rows)).to_dict()
    finally:
        # The connections of a client belong to the event loop that ends here.
        await store.close()
        store.provider.online_store._client_async = None


async def _write_async(store):
    later = NOW + dt.timedelta(hours=1)
    await store.write_to_online_store_async("user_stats", _rows([2], later, [300.0]))
    store.provider.online_store._client_async = None


def _rows(users, time, spend):
    return pd.DataFrame(
        {
            "user_id": users,
            "event_timestamp": [time] * len(users),
            "spend": spend,
            "orders": [7] * len(users),
        }
    )
