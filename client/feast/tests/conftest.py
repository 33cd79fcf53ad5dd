"""Servers for all tests of a run, and a feature store for each."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "python"))

import tilekv  # noqa: E402
from feast_repository import feature_store  # noqa: E402
from servers import TileKVServer  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with TileKVServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server):
    with tilekv.Client(server.address) as client:
        yield client


@pytest.fixture
def store(server, tmp_path, request):
    online_store = {"type": "feast_tilekv.TileKVOnlineStore", "address": server.address}
    project = request.node.name.replace("[", "_").replace("]", "")
    return feature_store(tmp_path, online_store, project)
