"""What a window is and how far its value can be trusted. Knows nothing of aggregates or files."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The server's clock, the AT of the request if it had one, and whether it said KNOWN."""

    now: int
    at: int | None = None
    known: bool = False

    @property
    def time(self):
        return self.now if self.at is None else self.at

    @property
    def seal_time(self):
        """Seals count as they stood at this time."""
        return min(self.time, self.now) if self.known else self.now


class Horizon:
    """The retention horizon by the server's clock; millis is None without retention."""

    def __init__(self, clock, tile, retention):
        self.millis = None if retention is None else floor_to(clock.now - retention, tile)

    def clip(self, start):
        """The later of a window's start and the horizon, None standing for minus infinity."""
        if start is None or self.millis is None:
            return self.millis if start is None else start
        return max(start, self.millis)

    def at_most(self, end):
        """Where a lifetime that ends here starts."""
        return None if self.millis is None else min(self.millis, end)


@dataclass(frozen=True)
class Window:
    """A selector's window: its length (None is lifetime) and offset in milliseconds."""

    length: int | None
    offset: int = 0


@dataclass(frozen=True)
class Bounds:
    """A window resolved: events with start <= ts < end; closed_end leaves out the live tile."""

    start: int | None
    end: int
    closed_end: int
    floor: int
    sealed_to: int


class SealHistory:
    """Everything ever done to a view's seals: ["add" | "del", from, to, server time]."""

    def __init__(self, operations):
        self.operations = sorted(operations, key=lambda operation: operation[3])
        self.cache = {}

    def coverage(self, clock):
        """The merged sealed ranges, ascending, as they stood at the clock's seal time."""
        done = sum(1 for operation in self.operations if operation[3] <= clock.seal_time)
        if done not in self.cache:
            self.cache[done] = replay(self.operations[:done])
        return self.cache[done]


def replay(operations):
    ranges = []
    for verb, start, end, _ in operations:
        if verb == "add":
            ranges = merge(ranges + [(start, end)])
        else:
            ranges = cut(ranges, start, end)
    return ranges


def merge(ranges):
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def cut(ranges, start, end):
    pieces = []
    for low, high in ranges:
        pieces += [(low, min(high, start)), (max(low, end), high)]
    return [piece for piece in pieces if piece[0] < piece[1]]


def floor_to(millis, step):
    return millis // step * step


def resolve(window, clock, tile, edge, coverage, horizon):
    """The bounds of a window; coverage is None where the view does not require seals."""
    floor = floor_to(clock.time, tile)
    sealed_to = floor if coverage is None else right_edge(coverage, floor)
    closed_end = sealed_to - window.offset
    live = edge == "live" and sealed_to == floor and shows_live_tile(window, clock, floor + tile)
    end = closed_end + (tile if live else 0)
    start = horizon.at_most(end) if window.length is None else closed_end - window.length
    return Bounds(start, end, closed_end, floor, sealed_to)


def right_edge(coverage, floor):
    """The end of the newest sealed range that starts before the floor, at most the floor."""
    ends = [end for start, end in coverage if start < floor]
    return min(floor, ends[-1]) if ends else floor


def shows_live_tile(window, clock, tile_end):
    """A replay leaves out the tile that holds its time once that tile has ended."""
    return clock.at is None or window.offset > 0 or clock.now < tile_end


def status_of(bounds, window, horizon, coverage, feature_incomplete, max_lag, seen, rows):
    """The first status that applies."""
    lifetime = window.length is None
    if not lifetime and horizon.millis is not None and bounds.start < horizon.millis:
        return "expired"
    if is_incomplete(bounds, lifetime, coverage, feature_incomplete):
        return "incomplete"
    if max_lag is not None and bounds.floor - bounds.sealed_to > max_lag:
        return "stale"
    if not seen:
        return "unseen"
    return "ok" if rows > 0 else "empty"


def is_incomplete(bounds, lifetime, coverage, feature_incomplete):
    """Whether some of the window is unsealed, or older than the feature. A live tile needs no
    seal. Where seals are required, a lifetime counts from the oldest one."""
    start = bounds.start
    if coverage is not None:
        if lifetime and not coverage:
            return True
        if lifetime:
            start = coverage[0][0] if start is None else max(start, coverage[0][0])
        if not is_sealed(coverage, start, bounds.closed_end):
            return True
    return any(overlaps(start, bounds.end, *part) for part in feature_incomplete)


def is_sealed(coverage, start, end):
    return end <= start or any(low <= start and end <= high for low, high in coverage)


def overlaps(start, end, low, high):
    """Whether [start, end) meets [low, high); a start that is None stands for minus infinity."""
    starts = [bound for bound in (start, low) if bound is not None]
    return not starts or max(starts) < min(end, high)
