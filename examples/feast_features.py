"""Feast with TileKV as its online store: the windows of a stream feature view are merged when they
are read, so that an event counts in the next request."""

import datetime as dt
import os
import pathlib
import tempfile

import pandas as pd
from feast import Entity, FeatureStore, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.aggregation import Aggregation
from feast.stream_feature_view import StreamFeatureView
from feast.types import Float64, Int64
from feast_tilekv import write_events

HOUR, WEEK = dt.timedelta(hours=1), dt.timedelta(days=7)

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
files = FileSource(path="clicks.parquet", timestamp_field="clicked_at")
clicks = StreamFeatureView(
    name="clicks",
    entities=[user],
    schema=[
        Field(name="sum_price_604800s", dtype=Float64),
        Field(name="count_price_604800s", dtype=Int64),
    ],
    ttl=dt.timedelta(days=90),
    source=PushSource(name="click_stream", batch_source=files),
    aggregations=[
        Aggregation(column="price", function="sum", time_window=WEEK, slide_interval=HOUR),
        Aggregation(column="price", function="count", time_window=WEEK, slide_interval=HOUR),
    ],
    timestamp_field="clicked_at",
)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = RepoConfig(
            project="shop",
            provider="local",
            registry=str(pathlib.Path(folder) / "registry.db"),
            online_store={
                "type": "feast_tilekv.TileKVOnlineStore",
                "address": os.environ.get("TILEKV_ADDRESS", "127.0.0.1:8453"),
            },
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        store.apply([user, clicks])
        now = pd.Timestamp.now("UTC")
        events = {"user_id": [1, 1], "clicked_at": [now - HOUR, now], "price": [9.5, 0.5]}
        write_events(store, "clicks", pd.DataFrame(events))
        features = ["clicks:sum_price_604800s", "clicks:count_price_604800s"]
        found = store.get_online_features(features, [{"user_id": 1}, {"user_id": 2}]).to_dict()
        print(found["sum_price_604800s"], found["count_price_604800s"])


if __name__ == "__main__":
    main()
