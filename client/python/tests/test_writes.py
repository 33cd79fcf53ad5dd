"""Events from every kind of frame, tiles, seals, views, producers and jobs."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tilekv
from conftest import DAY, HOUR, START

AT = START + DAY
WINDOWS = ["orders@1d", "spend@1d", "pieces@1d", "newest@1d"]
MOMENTS = pd.to_datetime([START, START + HOUR, START + 2 * HOUR], unit="ms")

FRAMES = {
    "lists": {
        "entity": ["u:1", "u:2", "u:1"],
        "time": [START, START + HOUR, START + 2 * HOUR],
        "amount": [1, None, 2.5],
        "pieces": [3, 4, None],
        "item": ["tea", None, "milk"],
    },
    "rows": [
        {"entity": "u:1", "time": START, "amount": 1.0, "pieces": 3, "item": "tea"},
        {"entity": b"u:2", "time": START + HOUR, "pieces": 4},
        {"entity": "u:1", "time": START + 2 * HOUR, "amount": 2.5, "item": b"milk"},
    ],
    "numpy": {
        "entity": np.array(["u:1", "u:2", "u:1"]),
        "time": MOMENTS.to_numpy().astype("datetime64[ns]"),
        "amount": np.array([1.0, np.nan, 2.5], np.float32),
        "pieces": np.ma.MaskedArray(np.array([3, 4, 0], np.int16), [False, False, True]),
        "item": np.array(["tea", None, "milk"], object),
    },
    "pandas": pd.DataFrame(
        {
            "entity": ["u:1", "u:2", "u:1"],
            "time": MOMENTS.tz_localize("UTC").tz_convert("Europe/Berlin"),
            "amount": [1.0, None, 2.5],
            # Integers with a hole are doubles in pandas.
            "pieces": [3, 4, None],
            "item": ["tea", None, "milk"],
        }
    ),
    "pandas_nullable": pd.DataFrame(
        {
            "entity": ["u:1", "u:2", "u:1"],
            "time": MOMENTS,
            "amount": pd.array([1.0, None, 2.5], "Float64"),
            "pieces": pd.array([3, 4, None], "Int32"),
            "item": pd.array(["tea", None, "milk"], "string"),
        }
    ).iloc[:],
    "arrow": pa.table(
        {
            "entity": pa.array(["u:1", "u:2", "u:1"]).dictionary_encode(),
            "time": pa.array(MOMENTS.to_numpy(), pa.timestamp("us", "UTC")),
            "amount": pa.array([1.0, None, 2.5], pa.float32()),
            "pieces": pa.array([3, 4, None], pa.int32()),
            "item": pa.array(["tea", None, "milk"]),
        }
    ),
    "arrow_slice": pa.table(
        {
            "entity": ["x", "u:1", "u:2", "u:1"],
            "time": [0, START, START + HOUR, START + 2 * HOUR],
            "amount": [0.5, 1.0, None, 2.5],
            "pieces": [0, 3, 4, None],
            "item": ["x", "tea", None, "milk"],
        }
    ).slice(1),
    "arrow_slices": pa.concat_tables(
        pa.table(
            {
                "entity": pa.array(["x", *entities], pa.large_string()),
                "time": [0, *times],
                "amount": [0.5, *amounts],
                "pieces": [0, *pieces],
                "item": ["x", *items],
            }
        ).slice(1)
        for entities, times, amounts, pieces, items in [
            (["u:1"], [START], [1.0], [3], ["tea"]),
            (
                ["u:2", "u:1"],
                [START + HOUR, START + 2 * HOUR],
                [None, 2.5],
                [4, None],
                [None, "milk"],
            ),
        ]
    ),
    "polars": pl.DataFrame(
        {
            "entity": ["u:1", "u:2", "u:1"],
            "time": pl.Series(MOMENTS.to_list(), dtype=pl.Datetime("ms")),
            "amount": [1.0, None, 2.5],
            "pieces": [3, 4, None],
            "item": ["tea", None, "milk"],
        }
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_events_come_from_any_frame(client, shop, name):
    assert client.madd(shop, FRAMES[name]) == 3
    found = client.window_mget(shop, ["u:1", "u:2"], WINDOWS, at=AT).to_dict()
    assert found == {
        "orders@1d": [2, 1],
        "spend@1d": [3.5, None],
        "pieces@1d": [3, 4],
        "newest@1d": ["milk", None],
    }
    starts = [tile.start for tile in client.tiles(shop, "u:1", START - DAY, AT)]
    assert starts == [START, START + 2 * HOUR]


def test_an_event_alone(client, shop):
    moment = dt.datetime.fromtimestamp(START / 1000, dt.timezone(dt.timedelta(hours=2)))
    assert client.add(shop, "u:1", moment, amount=9.5, item="tea") == 1
    assert client.add(shop, 42, np.int64(START), amount=np.float64(1)) == 1
    assert client.window_get(shop, 42, WINDOWS, at=AT)["spend@1d"] == 1.0
    assert client.window_get(shop, "u:1", WINDOWS, at=AT) == {
        "orders@1d": 1,
        "spend@1d": 9.5,
        "pieces@1d": None,
        "newest@1d": "tea",
    }


def test_parts_of_a_millisecond_are_cut_downwards(client, shop):
    before = np.array([START * 1_000_000 - 1], "datetime64[ns]")
    client.madd(shop, {"entity": ["u"], "time": before})
    assert client.tiles(shop, "u", START - HOUR, START + HOUR)[0].start == START - HOUR
    table = pa.table({"entity": ["v"], "time": pa.array(before)})
    client.madd(shop, table)
    assert client.tiles(shop, "v", START - HOUR, START + HOUR)[0].start == START - HOUR


def test_a_batch_is_taken_whole_or_not_at_all(client, shop):
    rows = {"entity": ["u", "u"], "time": [START, START]}
    with pytest.raises(tilekv.InputError, match='column "pieces", row 1: 0.5'):
        client.madd(shop, {**rows, "pieces": [1.0, 0.5]})
    with pytest.raises(tilekv.BadValueError, match="item"):
        client.madd(shop, {**rows, "item": [1, 2]})
    with pytest.raises(tilekv.BadValueError):
        client.madd(shop, pa.table({**rows, "amount": [1.0, float("nan")]}))
    with pytest.raises(TypeError, match="row 1"):
        client.madd(shop, {**rows, "amount": [1.0, object()]})
    with pytest.raises(tilekv.TileKVError):
        client.madd(shop, {**rows, "colour": [1, 2]})
    with pytest.raises(tilekv.InputError, match="'entity'"):
        client.madd(shop, {"time": [START]})
    with pytest.raises(tilekv.InputError, match="row 1: a time is missing"):
        moments = np.array(["2026-01-01", "NaT"], "datetime64[s]")
        client.madd(shop, {"entity": ["u", "u"], "time": moments})
    assert client.view_info(shop).tiles == 0


def test_several_keys_make_an_entity(client, shop):
    view = f"{shop}.pairs"
    features = {"orders": "count()"}
    client.create_view(
        view, tile="1h", columns={"n": "i64"}, features=features, keys=["user", "item"]
    )
    frame = pd.DataFrame({"user": [1, 2], "item": ["tea", "milk"], "time": [START, START]})
    assert client.madd(view, frame, entity=["user", "item"]) == 2
    result = client.window_mget(view, [(1, "tea"), (1, "milk")], "orders@1d", at=AT)
    assert result[0].values.tolist() == [1, 0]
    with pytest.raises(tilekv.BadValueError):
        client.window_mget(view, ["1"], ["orders@1d"])


def test_sequences_of_a_producer_count_once(client, shop):
    for applied in [1, 0]:
        assert client.add(shop, "u", START, amount=1.0, producer=("p", 7), after="-") == applied
    assert client.producer_last(shop, "p") == 7 and client.producer_last(shop, "q") is None
    frame = {"entity": ["u"], "time": [START], "amount": [1.0]}
    assert client.madd(shop, frame, producer=("p", 8), after=7) == 1
    with pytest.raises(tilekv.OutOfOrderError) as raised:
        client.madd(shop, frame, producer=("p", 12), after=11)
    assert raised.value.last == 8 and raised.value.code == "OUTOFORDER"
    with pytest.raises(tilekv.InputError, match="after"):
        client.madd(shop, frame, after=11)
    assert client.window_get(shop, "u", ["orders@1d"], at=AT) == {"orders@1d": 2}


def test_a_producer_goes_on_where_it_was(client, shop):
    frames = [{"entity": ["u"], "time": [START + n], "pieces": [n]} for n in range(100)]
    with client.producer(shop, "topic-0") as producer:
        assert producer.last() is None
        assert all(producer.send(n, frame) for n, frame in enumerate(frames[:60]))
    assert producer.last() == 59
    again = client.producer(shop, "topic-0")
    sent = [again.send(n, frame) for n, frame in enumerate(frames)]
    assert again.flush() == 99 and sent == [False] * 60 + [True] * 40
    assert client.window_get(shop, "u", "pieces@1d", at=AT) == {"pieces@1d": sum(range(100))}


def test_tiles_are_set_merged_read_and_deleted(client, shop):
    client.set_tile(shop, "u", START, {"orders": np.int64(2), "spend": 12.5})
    client.merge_tile(shop, "u", START, {"orders": 3}, producer=("t", 1))
    client.merge_tile(shop, "u", START, {"orders": 3}, producer=("t", 1))
    tiles = client.tiles(shop, "u", START, AT, ["spend", "orders"])
    assert tiles == [tilekv.Tile(START, {"spend": 12.5, "orders": 5})]
    whole = client.tiles(shop, "u", START, AT)[0]
    client.set_tile(shop, "v", START, whole.partials)
    assert client.tiles(shop, "v", START, AT) == [whole]
    assert client.delete_tiles(shop, "v", START, AT) == 1
    assert client.delete_entity("u", [shop]) == 1
    assert client.tiles(shop, "u", START, AT) == []
    with pytest.raises(tilekv.NoFeatureError):
        client.set_tile(shop, "u", START, {"nothing": 1})


def test_views_are_made_changed_and_listed(client, shop):
    settings = {"retention": dt.timedelta(days=90), "seal": "required", "max_lag": "3h"}
    view = f"{shop}.x"
    columns, features = {"n": "i64"}, {"most": "max(n)"}
    client.create_view(view, tile=HOUR, columns=columns, features=features, **settings)
    client.alter_view(view, add_features={"least": "min(n)"}, max_lag="none", late="drop")
    info = client.view_info(view)
    assert info.definition["tile"] == "1h" and info.definition["retention"] == "90d"
    assert info.definition["features"] == ["most=max(n)", "least=min(n)"]
    assert info.definition["max_lag"] is None and info.definition["late"] == "drop"
    client.add_seal(view, START, START + HOUR)
    [seal] = client.seals(view)
    assert (seal.start, seal.end) == (START, START + HOUR) and START < seal.made_at
    assert client.view_info(view).seals == [seal]
    client.delete_seal(view, START, START + HOUR)
    assert client.seals(view) == []
    assert view in client.views()
    client.drop_view(view)
    assert view not in client.views()
    with pytest.raises(tilekv.RefusedError):
        client.create_view(shop, tile="1h", columns=columns, features=features)


def test_a_view_made_anew_has_its_new_types(client, shop):
    client.add(shop, "u", START, amount=1)
    client.drop_view(shop)
    client.create_view(shop, tile="1h", columns={"amount": "i64"}, features={"n": "sum(amount)"})
    frame = {"entity": ["u"], "time": [START], "amount": [2]}
    with pytest.raises(tilekv.BadValueError):
        client.madd(shop, frame)
    client.madd(shop, frame)
    assert client.window_get(shop, "u", "n@1d", at=AT) == {"n@1d": 2}


def test_a_job_is_published_at_the_end_of_its_block(client, shop):
    client.add(shop, "old", START, amount=1.0)
    with client.job(shop, START, AT) as job:
        assert job.write(FRAMES["pandas"]) == 3
        assert job.write(FRAMES["arrow"]) == 6
        assert client.window_get(shop, "u:1", ["orders@1d"], at=AT) == {"orders@1d": 0}
    result = client.window_mget(shop, ["u:1", "old"], ["orders@1d"], at=AT)
    assert result[0].values.tolist() == [4, 0], "a replacing job removes what the range held"
    assert [(seal.start, seal.end) for seal in client.seals(shop)] == [(START, AT)]
    [found] = [found for found in client.jobs() if found["id"] == job.id]
    assert found["state"] == "committed" and found["rows"] == 6


def test_a_job_whose_block_raises_leaves_no_trace(client, shop):
    with pytest.raises(ZeroDivisionError), client.job(shop, START, AT) as job:
        job.write(FRAMES["lists"])
        raise ZeroDivisionError
    assert job.id not in [found["id"] for found in client.jobs()]
    assert client.seals(shop) == [] and client.view_info(shop).tiles == 0
    with pytest.raises(tilekv.ClosedError):
        job.write(FRAMES["lists"])


def test_an_empty_job_is_refused_unless_it_is_said(client, shop):
    with pytest.raises(tilekv.EmptyJobError), client.job(shop, START, AT) as job:
        pass
    assert job.id not in [found["id"] for found in client.jobs()] and client.seals(shop) == []
    with client.job(shop, START, AT, allow_empty=True, seal=False):
        pass
    assert client.seals(shop) == []


def test_rows_that_a_job_did_not_take_are_noticed(client, shop):
    job = client.job(shop, START, AT).begin()
    job.write(FRAMES["lists"])
    with pytest.raises(tilekv.RowCountError):
        job.commit(rows=4)
    assert job.commit() == 3
    gone = client.job(shop, START, AT).begin()
    client.command("JOB.ABORT", gone.id)
    with pytest.raises(tilekv.NoJobError):
        gone.commit()


def test_a_driver_that_begins_again_counts_once(client, shop):
    for _ in range(2):
        with client.job(shop, START, AT, token="nightly", mode="merge", timeout="10m") as job:
            job.write(FRAMES["numpy"])
            job.write_tiles([("w", START, {"orders": 5})])
    found = client.window_mget(shop, ["u:1", "w"], ["orders@1d"], at=AT)[0].values
    assert found.tolist() == [2, 5]
