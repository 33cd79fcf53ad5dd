"""Stream feature views with aggregations as views of TileKV: what each becomes, how their rows are
written and their windows read. Knows nothing of connections."""

import math
import re
from datetime import timedelta

from feast.stream_feature_view import StreamFeatureView
from feast.types import PrimitiveFeastType
from tilekv import Status

from ._values import entity_text, from_proto, to_proto

LIFETIME = "lifetime"
_MILLISECOND = timedelta(milliseconds=1)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_EXPRESSIONS = {
    "sum": "sum({})",
    "count": "count({})",
    "mean": "mean({})",
    "avg": "mean({})",
    "min": "min({})",
    "max": "max({})",
    "std": "stddev_samp({})",
    "stddev": "stddev_samp({})",
    "var": "var_samp({})",
    "count_distinct": "approx_count_distinct({})",
    "nunique": "approx_count_distinct({})",
    "first": "first({})",
    "last": "last({})",
}
_INTEGERS = {
    PrimitiveFeastType.INT32,
    PrimitiveFeastType.INT64,
    PrimitiveFeastType.BOOL,
}
_TYPED = ("sum", "min", "max", "first", "last")


def is_aggregated(table):
    """Whether a feature view's features are windows."""
    return isinstance(table, StreamFeatureView) and bool(table.aggregations)


class WindowView:
    """A stream feature view as a view of TileKV.

    Attributes:
        name: The view's name: project, dot, feature view.
        keys: Its join keys, sorted.
        tile_ms: The tile size: the greatest that divides all windows, slides and hops.
        columns: The aggregated columns and their types.
        features: The aggregates, by name.
        selectors: What answers each feature of the feature view.
    """

    def __init__(self, project, table):
        self.table = table
        self.name = f"{project}.{table.name}"
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a view: expected {_NAME.pattern}")
        self.keys = sorted(table.join_keys)
        self.tile_ms = _tile_ms(table)
        self.retention = _retention_ms(table.ttl, self.tile_ms)
        fields = {field.name: field.dtype for field in table.features}
        self.columns = {
            aggregation.column: _column_type(aggregation.column, table, fields)
            for aggregation in table.aggregations
            if aggregation.column not in ("", "*")
        }
        self.features, self.selectors = {}, {}
        for aggregation in table.aggregations:
            self._add(aggregation, fields)
        for column in self.columns:
            if column in fields and column not in self.selectors:
                self.features[f"latest_{column}"] = f"last({column})"
                self.selectors[column] = f"latest_{column}@{LIFETIME}"
        missing = sorted(set(fields) - set(self.selectors))
        if missing:
            raise ValueError(
                f"{table.name}: {missing} are neither outputs of an aggregation nor aggregated "
                f"columns; the outputs are {sorted(self.selectors)}"
            )
        self.dtypes = fields

    def _add(self, aggregation, fields):
        function, column = aggregation.function.lower(), aggregation.column
        if function not in _EXPRESSIONS:
            known = ", ".join(sorted(_EXPRESSIONS))
            raise ValueError(f"{self.table.name}: aggregation {function!r}: expected {known}")
        everything = column in ("", "*")
        feature = f"{function}_all" if everything else f"{function}_{column}"
        self.features[feature] = _EXPRESSIONS[function].format("" if everything else column)
        window = LIFETIME
        if aggregation.time_window:
            window = f"{aggregation.time_window // _MILLISECOND}ms"
        named = aggregation.resolved_name(aggregation.time_window)
        for name in (named, aggregation.resolved_name()):
            if name in fields:
                self.selectors.setdefault(name, f"{feature}@{window}")

    def rows(self, data):
        """Rows of ``online_write_batch`` as a frame of events."""
        columns = [name for name in self.columns if any(name in row[1] for row in data)]
        if not columns and self.columns:
            raise ValueError(
                f"{self.table.name}: the rows have none of the columns {sorted(self.columns)}. "
                "TileKV aggregates when it reads: write events, not aggregates, with "
                "feast_tilekv.write_events or with the aggregated columns in the schema"
            )
        frame = {name: [from_proto(row[1].get(name)) for row in data] for name in columns}
        frame["entity"] = self.entities([row[0] for row in data])
        frame["time"] = [_event_time(row[2]) for row in data]
        return frame

    def events(self, frame):
        """A frame of events with the feature view's own columns, and what it is written by."""
        time = self.table.timestamp_field or self.table.batch_source.timestamp_field
        return {"entity": self.keys, "time": time, "columns": list(self.columns)}

    def entities(self, entity_keys):
        """Entity keys of Feast as entities of the view."""
        return [self._entity(key) for key in entity_keys]

    def _entity(self, key):
        values = dict(zip(key.join_keys, key.entity_values, strict=True))
        parts = [entity_text(values[name]) for name in self.keys]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def read(self, entity_keys, requested, edge):
        """The read that answers these features, as ``tilekv.Client.gather`` takes it."""
        selectors = list(dict.fromkeys(self.selectors[name] for name in requested))
        return {
            "views": {self.name: selectors},
            "entities": self.entities(entity_keys),
            "edge": edge,
            "status": True,
        }

    def answers(self, result, requested, now):
        """The rows that Feast expects of a read: nothing for an entity that was never seen."""
        columns = []
        for name in requested:
            column = result[f"{self.name}.{self.selectors[name]}"]
            columns.append([to_proto(value, self.dtypes[name]) for value in column.to_list()])
        unseen = result[0].status == Status.UNSEEN
        return [
            (None, None) if unseen[row] else (now, dict(zip(requested, values, strict=True)))
            for row, values in enumerate(zip(*columns, strict=True))
        ]


def _tile_ms(table):
    spans = []
    for aggregation in table.aggregations:
        spans += [aggregation.time_window, aggregation.slide_interval]
    if table.enable_tiling:
        spans.append(table.tiling_hop_size or timedelta(minutes=5))
    spans = [span // _MILLISECOND for span in spans if span]
    return math.gcd(*spans) if spans else timedelta(hours=1) // _MILLISECOND


def _retention_ms(ttl, tile_ms):
    """Feast's ttl in whole tiles, rounded up; none where there is none."""
    if not ttl:
        return None
    return -(-(ttl // _MILLISECOND) // tile_ms) * tile_ms


def _column_type(column, table, fields):
    """The type of an aggregated column: its own in the schema, or that of an output that has the
    same type as its input; else doubles."""
    dtype = fields.get(column)
    for aggregation in table.aggregations:
        if dtype is None and aggregation.column == column and aggregation.function in _TYPED:
            dtype = fields.get(aggregation.resolved_name(aggregation.time_window))
    if dtype in _INTEGERS:
        return "i64"
    return "str" if dtype == PrimitiveFeastType.STRING else "f64"


def _event_time(given):
    # Feast says that a time without a zone is UTC.
    from feast.utils import make_tzaware

    return make_tzaware(given)
