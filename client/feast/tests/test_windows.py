"""Stream feature views with aggregations: tiles are written, windows are read."""

import asyncio
import datetime as dt

import pandas as pd
import pytest
import tilekv
from feast import Field, FileSource, PushSource
from feast.aggregation import Aggregation
from feast.stream_feature_view import StreamFeatureView
from feast.types import Float64, Int64, String
from feast_repository import item, user
from feast_tilekv import write_events

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def clicks(folder, extra=(), **options):
    files = FileSource(path=str(folder / "clicks.parquet"), timestamp_field="at")
    aggregations = [
        Aggregation(column="price", function="sum", time_window=7 * DAY, slide_interval=HOUR),
        Aggregation(column="price", function="max", time_window=DAY, slide_interval=HOUR),
        Aggregation(column="price", function="mean", time_window=DAY, name="mean_price"),
        Aggregation(column="pieces", function="sum", time_window=DAY),
        Aggregation(column="page", function="count_distinct", time_window=DAY),
        Aggregation(column="page", function="count", time_window=DAY),
        *extra,
    ]
    schema = [
        Field(name="sum_price_604800s", dtype=Float64),
        Field(name="max_price_86400s", dtype=Float64),
        Field(name="mean_price", dtype=Float64),
        Field(name="sum_pieces_86400s", dtype=Int64),
        Field(name="count_distinct_page_86400s", dtype=Int64),
        Field(name="count_page_86400s", dtype=Int64),
        Field(name="page", dtype=String),
    ]
    return StreamFeatureView(
        name="clicks",
        entities=[user()],
        schema=schema,
        ttl=30 * DAY,
        source=PushSource(name="click_push", batch_source=files),
        aggregations=aggregations,
        timestamp_field="at",
        **options,
    )


FEATURES = [
    "clicks:sum_price_604800s",
    "clicks:max_price_86400s",
    "clicks:mean_price",
    "clicks:sum_pieces_86400s",
    "clicks:count_distinct_page_86400s",
    "clicks:count_page_86400s",
    "clicks:page",
]


def events():
    now = pd.Timestamp.now("UTC").floor("h")
    return pd.DataFrame(
        {
            "user_id": [1, 1, 1, 2],
            "at": [now - 3 * DAY, now - HOUR, now - 2 * HOUR, now - 40 * DAY],
            "price": [8.0, 1.0, 3.0, 5.0],
            "pieces": [1, 2, 3, 4],
            "page": ["a", "b", "b", "c"],
        }
    )


ANSWERS = {
    "user_id": [1, 3],
    "sum_price_604800s": [12.0, None],
    "max_price_86400s": [3.0, None],
    "mean_price": [2.0, None],
    "sum_pieces_86400s": [5, None],
    "count_distinct_page_86400s": [1, None],
    "count_page_86400s": [2, None],
    "page": ["b", None],
}


def test_a_stream_feature_view_is_a_view_of_tiles(store, client, tmp_path):
    store.apply([user(), clicks(tmp_path)])
    definition = client.view_info(f"{store.project}.clicks").definition
    assert definition["tile"] == "1h" and definition["retention"] == "30d"
    assert definition["keys"] == ["user_id"]
    assert definition["columns"] == ["price:f64", "pieces:i64", "page:str"]
    assert "sum_price=sum(price)" in definition["features"]
    assert write_events(store, "clicks", events()) == 3, "one is older than the ttl"
    rows = [{"user_id": 1}, {"user_id": 3}]
    assert store.get_online_features(FEATURES, rows).to_dict() == ANSWERS
    found = asyncio.run(store.get_online_features_async(FEATURES, rows)).to_dict()
    assert found == ANSWERS
    store.teardown()
    with pytest.raises(tilekv.NoViewError):
        client.view_info(f"{store.project}.clicks")


def test_events_count_once_under_a_sequence(store, tmp_path):
    store.apply([user(), clicks(tmp_path)])
    for applied in (3, 0):
        assert write_events(store, "clicks", events(), producer=("topic-0", 1)) == applied
    found = store.get_online_features(["clicks:count_page_86400s"], [{"user_id": 1}]).to_dict()
    assert found["count_page_86400s"] == [2]


def test_rows_of_feast_itself_are_events(store, tmp_path):
    # Feast wants a column for each feature, windows included; they are left empty.
    store.apply([user(), clicks(tmp_path)])
    frame = events()
    for feature in FEATURES:
        name = feature.split(":")[1]
        if name not in frame:
            frame[name] = None
    store.write_to_online_store("clicks", frame)
    found = store.get_online_features(FEATURES, [{"user_id": 1}]).to_dict()
    assert found["page"] == ["b"] and found["count_page_86400s"] == [2]
    assert found["sum_price_604800s"] == [None], "the schema has no column of prices"


def test_a_deleted_feature_view_leaves_nothing(store, client, tmp_path):
    view = clicks(tmp_path)
    store.apply([user(), view])
    write_events(store, "clicks", events())
    store.apply([], objects_to_delete=[view], partial=False)
    with pytest.raises(tilekv.NoViewError):
        client.view_info(f"{store.project}.clicks")


def test_a_changed_feature_view_changes_its_view(store, client, tmp_path):
    store.apply([user(), clicks(tmp_path)])
    added = Aggregation(column="price", function="min", time_window=DAY, slide_interval=HOUR)
    store.apply([clicks(tmp_path, [added])])
    definition = client.view_info(f"{store.project}.clicks").definition
    assert "min_price=min(price)" in definition["features"]


def test_aggregates_and_names_that_do_not_fit_are_named(store, tmp_path):
    odd = Aggregation(column="price", function="entropy", time_window=DAY)
    with pytest.raises(ValueError, match="entropy"):
        store.apply([user(), clicks(tmp_path, [odd])])
    with pytest.raises(ValueError, match="aggregates when it reads"):
        view = clicks(tmp_path)
        store.provider.online_store.window_view(store.project, view).rows(
            [(None, {"sum_price_604800s": 1}, dt.datetime.now(), None)]
        )


def test_several_keys_and_small_tiles(store, client, tmp_path):
    files = FileSource(path=str(tmp_path / "x.parquet"), timestamp_field="at")
    view = StreamFeatureView(
        name="pairs",
        entities=[user(), item()],
        schema=[Field(name="count__7200s", dtype=Int64)],
        source=PushSource(name="pair_push", batch_source=files),
        aggregations=[Aggregation(column="", function="count", time_window=2 * HOUR)],
        timestamp_field="at",
        enable_tiling=True,
        tiling_hop_size=dt.timedelta(minutes=45),
    )
    store.apply([user(), item(), view])
    info = client.view_info(f"{store.project}.pairs")
    assert info.definition["tile"] == "15m" and info.definition["retention"] is None
    assert info.definition["keys"] == ["item_id", "user_id"]
    at = [pd.Timestamp.now("UTC")] * 3
    frame = {"user_id": [1, 1, 2], "item_id": ["tea", "tea", "tea"], "at": at}
    assert write_events(store, "pairs", pd.DataFrame(frame)) == 3
    rows = [{"user_id": 1, "item_id": "tea"}, {"user_id": 1, "item_id": "milk"}]
    found = store.get_online_features(["pairs:count__7200s"], rows).to_dict()
    assert found["count__7200s"] == [2, None]
