"""Feast's own Redis online store on TileKV, compared with the same on redis-server."""

import subprocess
import sys

from servers import ROOT


def test_feast_takes_tilekv_for_redis():
    script = ROOT / "tests" / "python" / "feast_redis.py"
    command = [sys.executable, "-W", "ignore", str(script), "--rounds", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "6 answers of Feast on TileKV are those on Redis" in done.stdout
    assert "p50" in done.stdout
