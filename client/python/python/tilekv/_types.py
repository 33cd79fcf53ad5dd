"""What the server tells of tiles, seals and views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tile:
    """A stored tile.

    Attributes:
        start: Its start in milliseconds since the epoch.
        partials: The partial of each feature, as the JSON of the server reads in Python.
    """

    start: int
    partials: dict[str, Any]


@dataclass(frozen=True)
class Seal:
    """A range of a view's time that is complete; all in milliseconds since the epoch.

    Attributes:
        start: The first millisecond.
        end: The first millisecond after it.
        made_at: The server's time when the seal was made.
    """

    start: int
    end: int
    made_at: int


@dataclass(frozen=True)
class ViewInfo:
    """What a view is and holds.

    Attributes:
        definition: Its settings by name, as ``VIEW.INFO`` has them: ``tile``, ``retention``,
            ``columns`` as ``name:type``, ``features`` as ``name=expression`` ..
        entities: How many entities hold tiles.
        tiles: How many tiles are stored.
        bytes: How many bytes they take.
        seals: The sealed ranges, ascending.
        newest_event: The newest event's time in milliseconds since the epoch.
        seal_lag: How many milliseconds the newest complete time lies back.
        late_dropped: How many late events were dropped.
        too_old: How many events were older than the retention.
    """

    definition: dict[str, Any]
    entities: int
    tiles: int
    bytes: int
    seals: list[Seal]
    newest_event: int | None
    seal_lag: int | None
    late_dropped: int
    too_old: int
