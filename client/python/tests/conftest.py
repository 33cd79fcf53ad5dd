"""A server for all tests of a run, and a client and a view for each."""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "python"))

import tilekv  # noqa: E402
from servers import TileKVServer  # noqa: E402

HOUR = 3_600_000
DAY = 24 * HOUR
# 2026-01-01T00:00:00Z
START = 1_767_225_600_000
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with TileKVServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server):
    with tilekv.Client(server.address) as client:
        yield client


@pytest.fixture
def shop(client):
    """The name of a view of one's own."""
    view = f"shop{next(_numbers)}"
    columns = {"amount": "f64", "pieces": "i64", "item": "str"}
    features = {
        "orders": "count()",
        "spend": "sum(amount)",
        "pieces": "sum(pieces)",
        "newest": "last(item)",
        "lately": "last_n(item,3)",
        "amounts": "last_n(amount,3)",
        "favourites": "top_n(item,3)",
    }
    client.create_view(view, tile="1h", columns=columns, features=features)
    return view
