"""A feature repository that the stories of Feast share: two plain feature views from files, and a
third of several keys. Knows nothing of which online store it is applied to."""

import datetime as dt

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String

NOW = dt.datetime(2026, 1, 10, tzinfo=dt.timezone.utc)
USERS = 50


def feature_store(folder, online_store, project="shop"):
    """A store whose registry and offline files lie in a folder."""
    config = RepoConfig(
        project=project,
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "file"},
        online_store=online_store,
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


def user():
    return Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)


def item():
    return Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)


def rows():
    """What the offline files hold: each user twice, the newer row last."""
    users = [number for number in range(USERS) for _ in range(2)]
    times = [NOW - dt.timedelta(hours=hours) for _ in range(USERS) for hours in (5, 2)]
    return pd.DataFrame(
        {
            "user_id": users,
            "item_id": [f"item-{number % 7}" for number in users],
            "event_timestamp": times,
            "spend": [number + index % 2 / 2 for index, number in enumerate(users)],
            "orders": range(len(users)),
            "city": [f"city {number % 3}" for number in users],
        }
    )


def feature_views(folder):
    """Entities and feature views over a file, which is written."""
    rows().to_parquet(folder / "rows.parquet")
    source = FileSource(path=str(folder / "rows.parquet"), timestamp_field="event_timestamp")
    options = {"ttl": dt.timedelta(days=30), "source": source, "online": True}
    stats = FeatureView(
        name="user_stats",
        entities=[user()],
        schema=[Field(name="spend", dtype=Float64), Field(name="orders", dtype=Int64)],
        **options,
    )
    places = FeatureView(
        name="user_places", entities=[user()], schema=[Field(name="city", dtype=String)], **options
    )
    pairs = FeatureView(
        name="pairs",
        entities=[user(), item()],
        schema=[Field(name="spend", dtype=Float64)],
        **options,
    )
    return [user(), item(), stats, places, pairs]


FEATURES = ["user_stats:spend", "user_stats:orders", "user_places:city"]
PAIR_FEATURES = ["pairs:spend"]


def entity_rows(users):
    return [{"user_id": number} for number in users]


def pair_rows(users):
    return [{"user_id": number, "item_id": f"item-{number % 7}"} for number in users]
