"""The programs of examples/ do what they say, each on a server of its own."""

import os
import subprocess
import sys

import pytest
from servers import ROOT, TileKVServer


@pytest.fixture
def run(tmp_path):
    with TileKVServer(tmp_path) as server:

        def run(name, *arguments, status=0):
            command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / name), *arguments]
            environment = {**os.environ, "TILEKV_ADDRESS": server.address}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == status, done.stderr
            return done.stdout.splitlines()

        yield run


def test_redis_py(run):
    for applied in (1, 0):
        assert run("redis_py.py") == [str([applied] * 3), "s:1 2 3.0", "s:2 1 0.5", "s:3 0 None"]


def test_a_stream_worker_that_is_killed_counts_once(run):
    run("stream_worker.py", "7", status=1)
    *_, counted = run("stream_worker.py")
    assert counted == "payments: [200, 200, 200, 200, 200]"
    assert run("stream_worker.py") == ["goes on behind 999", counted]


def test_a_nightly_job(run):
    assert run("nightly_job.py") == [
        *["2026-01-01: 3 rows are published"] * 2,
        *["2026-01-02: 3 rows are published"] * 2,
        "as of 2026-01-03: [25.0, 10.0] ['ok', 'ok']",
        "refused: EMPTYJOB",
        "as of 2026-01-05: [25.0, 10.0] ['stale', 'stale']",
    ]


def test_feast(run):
    assert run("feast_features.py") == ["[10.0, None] [2, None]"]
