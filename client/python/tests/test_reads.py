"""Windows as NumPy, Arrow, pandas and Polars."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tilekv
from conftest import DAY, HOUR, START
from tilekv import Status

AT = START + DAY


@pytest.fixture
def filled(client, shop):
    client.madd(
        shop,
        {
            "entity": ["u:1", "u:1", "u:2", "u:1"],
            "time": [START, START + HOUR, START, START + 2 * HOUR],
            "amount": [9.5, 0.25, None, 1.0],
            "pieces": [1, 2, 3, None],
            "item": ["tea", "milk", None, "tea"],
        },
    )
    return shop


def test_columns_are_numpy_with_validity(client, filled):
    windows = ["orders@1d", "spend@1d", "pieces@1d"]
    result = client.window_mget(filled, ["u:1", "u:2", "u:9"], windows, at=AT)
    orders, spend, pieces = result
    assert orders.values.dtype == np.int64 and orders.values.tolist() == [3, 1, 0]
    assert spend.values.dtype == np.float64 and spend.values.tolist() == [10.75, 0.0, 0.0]
    assert orders.valid.dtype == np.bool_ and orders.valid.tolist() == [True, True, True]
    assert spend.valid.tolist() == [True, False, False]
    assert pieces.to_list() == [3, 3, None]
    assert result["spend@1d"] is spend and result[1] is spend and len(result) == 3
    assert result.entities == ["u:1", "u:2", "u:9"]
    with pytest.raises(KeyError, match="spend@2d"):
        result["spend@2d"]


def test_values_are_taken_where_they_lie(client, filled):
    entities = [f"u:{number}" for number in range(1000)]
    column = client.window_mget(filled, entities, ["orders@1d"], at=AT)[0]
    assert column.values.flags.aligned and not column.values.flags.writeable
    assert not column.values.flags.owndata
    array = column.to_arrow()
    assert array.buffers()[1].address == column.values.ctypes.data
    assert array.null_count == 0 and array[1].as_py() == 3


def test_many_shapes_of_answers_keep_their_place(client, filled):
    # Answers of odd lengths leave those behind them at addresses that numbers do not like.
    for count in range(1, 40):
        windows = ["spend@1d", "orders@1d"]
        read = {"views": {filled: windows}, "entities": ["u:1"] * count, "at": AT, "status": True}
        results, _ = client.gather([read] * 3, [["ECHO", "x" * count]] * 3)
        for spend, orders in results:
            assert spend.values.tolist() == [10.75] * count and spend.values.flags.aligned
            assert orders.to_arrow().to_pylist() == [3] * count
            assert orders.tiles_read.tolist() == [3] * count and orders.windows.flags.aligned


def test_statuses_say_how_far_a_value_can_be_trusted(client, filled):
    later = START + 2 * DAY
    result = client.window_mget(
        filled, ["u:1", "u:9"], ["orders@1d", "orders@2d"], at=later, status=True
    )
    day, two_days = result
    assert [Status(code) for code in day.status] == [Status.EMPTY, Status.UNSEEN]
    assert two_days.status.tolist() == [Status.OK, Status.UNSEEN]
    assert two_days.tiles_read.tolist() == [3, 0]
    assert day.windows.tolist() == [[later - DAY, later]] * 2
    plain = client.window_mget(filled, ["u:1"], ["orders@1d"], at=later)
    with pytest.raises(ValueError, match="status=True"):
        plain[0].status  # noqa: B018


def test_strings_and_lists_are_objects_and_arrow_lists(client, filled):
    names = ["newest@1d", "lately@1d", "amounts@1d", "favourites@1d"]
    result = client.window_mget(filled, ["u:1", "u:9"], names, at=AT)
    newest, lately, amounts, favourites = result
    assert newest.to_list() == ["tea", None]
    assert lately.values.tolist() == [["tea", "milk", "tea"], []]
    assert amounts.to_list() == [[9.5, 0.25, 1.0], []]
    assert favourites.to_list() == [[["tea", 2], ["milk", 1]], []]
    assert lately.to_arrow().type == pa.list_(pa.string())
    assert lately.to_arrow().to_pylist() == [["tea", "milk", "tea"], []]
    assert amounts.to_arrow().type == pa.list_(pa.float64())
    assert favourites.to_arrow().to_pylist() == [
        [{"value": "tea", "count": 2}, {"value": "milk", "count": 1}],
        [],
    ]


def test_arrow_pandas_and_polars_take_a_result(client, filled):
    result = client.window_mget(
        filled, ["u:1", "u:2"], ["spend@1d", "orders@1d"], at=AT, status=True
    )
    batch = result.to_arrow()
    batch.validate(full=True)
    assert batch.schema.names == [
        "entity",
        "spend@1d",
        "spend@1d.status",
        "orders@1d",
        "orders@1d.status",
    ]
    assert batch.column("spend@1d").to_pylist() == [10.75, None]
    assert batch.column("spend@1d.status").to_pylist() == ["ok", "ok"]
    frame = result.to_pandas()
    assert frame.index.tolist() == ["u:1", "u:2"]
    assert str(frame["orders@1d"].dtype) == "Int64" and str(frame["spend@1d"].dtype) == "Float64"
    assert frame["spend@1d"].isna().tolist() == [False, True]
    polars = pl.DataFrame(result)
    assert polars["orders@1d"].to_list() == [3, 1]
    assert polars["spend@1d"].to_list() == [10.75, None]


def test_a_matrix_is_what_a_model_takes(client, filled):
    result = client.window_mget(filled, ["u:1", "u:2"], ["spend@1d", "orders@1d"], at=AT)
    matrix = result.matrix()
    assert matrix.shape == (2, 2) and matrix.dtype == np.float64
    assert matrix[0].tolist() == [10.75, 3.0] and np.isnan(matrix[1, 0])
    assert result.matrix(fill=-1, dtype=np.float32)[1].tolist() == [-1.0, 1.0]
    with pytest.raises(TypeError, match="newest@1d"):
        client.window_mget(filled, ["u:1"], ["newest@1d"], at=AT).matrix()


@pytest.mark.parametrize(
    "entities",
    [
        ["u:1", "u:9"],
        (b"u:1", b"u:9"),
        np.array(["u:1", "u:9"]),
        pd.Series(["u:1", "u:9"]),
        pa.array(["x", "u:1", "u:9"])[1:],
        pa.chunked_array([["u:1"], ["u:9"]]),
        pl.Series(["u:1", "u:9"]),
    ],
    ids=["list", "bytes", "numpy", "pandas", "arrow", "chunks", "polars"],
)
def test_entities_come_from_any_library(client, filled, entities):
    result = client.window_mget(filled, entities, ["orders@1d"], at=AT)
    assert result[0].values.tolist() == [3, 0]
    assert result.entities == ["u:1", "u:9"]


def test_each_row_may_have_its_own_time(client, filled):
    ats = pd.Series(pd.to_datetime([START + HOUR, START + DAY], unit="ms", utc=True))
    result = client.window_mget(filled, ["u:1", "u:1"], ["orders@1d"], ats=ats)
    assert result[0].values.tolist() == [1, 3]
    moment = dt.datetime.fromtimestamp((START + HOUR) / 1000, dt.timezone.utc)
    assert client.window_get(filled, "u:1", "orders@1d", at=moment) == {"orders@1d": 1}
    with pytest.raises(tilekv.InputError, match="time zone"):
        client.window_get(filled, "u:1", "orders@1d", at=moment.replace(tzinfo=None))
    with pytest.raises(tilekv.InputError, match="both"):
        client.window_mget(filled, ["u:1"], ["orders@1d"], at=AT, ats=[AT])


def test_several_views_are_read_at_once(client, filled):
    client.create_view(f"{filled}.b", tile="1h", columns={"n": "i64"}, features={"n": "max(n)"})
    client.add(f"{filled}.b", "u:2", START, n=7)
    views = {filled: ["orders@1d"], f"{filled}.b": ["n@1d"]}
    result = client.read(views, ["u:1", "u:2"], at=AT)
    assert result.names == [f"{filled}.orders@1d", f"{filled}.b.n@1d"]
    assert result[f"{filled}.b.n@1d"].to_list() == [None, 7]


def test_reads_and_commands_go_out_together(client, filled):
    reads = [
        {"views": {filled: ["orders@1d"]}, "entities": ["u:1"], "at": AT},
        {"views": {filled: ["spend@1d"]}, "entities": ["u:2", "u:1"], "at": AT},
    ]
    results, replies = client.gather(reads, [["ECHO", "a"], ["PING"]], again=True)
    assert [result[0].to_list() for result in results] == [[3], [None, 10.75]]
    assert replies == [b"a", "PONG"]


def test_sums_past_64_bits_are_exact(client, shop):
    client.madd(shop, {"entity": ["u"] * 2, "time": [START] * 2, "pieces": [2**63 - 1] * 2})
    column = client.window_mget(shop, ["u", "none"], ["pieces@1d"], at=AT)[0]
    assert column.to_list() == [2**64 - 2, None]
    assert column.values.tolist() == [2**64 - 2, None]
    assert column.to_arrow().to_pylist() == [str(2**64 - 2), None]


def test_edges_and_known_seals_and_explain(client, filled):
    live = START + 2 * HOUR + 1
    closed = client.window_get(filled, "u:1", ["orders@1d"], at=live, edge="closed")
    assert closed == {"orders@1d": 2}
    explained = client.explain(filled, "u:1", "orders@1d", at=AT)
    assert explained["result"] == 3 and explained["status"] == "ok"
    with pytest.raises(tilekv.InputError, match="open"):
        client.window_get(filled, "u:1", ["orders@1d"], edge="open")


def test_what_does_not_exist_has_its_own_exception(client, filled):
    for view, selector, expected in [
        ("nowhere", "orders@1d", tilekv.NoViewError),
        (filled, "nothing@1d", tilekv.NoFeatureError),
        (filled, "orders@90m", tilekv.BadWindowError),
        (filled, "orders", tilekv.InputError),
    ]:
        with pytest.raises(expected) as raised:
            client.window_mget(view, ["u:1"], [selector])
        assert isinstance(raised.value, tilekv.TileKVError)
        assert not raised.value.may_have_been_applied
    with pytest.raises(tilekv.NoViewError) as raised:
        client.window_mget("nowhere", ["u:1"], ["n@1d"])
    assert raised.value.code == "NOVIEW"
    with pytest.raises(TypeError, match="entity 1"):
        client.window_mget(filled, ["u:1", 2.5], ["orders@1d"])
