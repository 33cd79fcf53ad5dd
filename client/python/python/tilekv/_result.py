"""The answers of a read: columns that NumPy and Arrow take where they lie."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ._frames import KEY_SEPARATOR, optional
from ._tilekv import Buffer, RawBatch, RawColumn

_UNBOUNDED = np.iinfo(np.int64).min


class Status(enum.IntEnum):
    """How far a value can be trusted: the first of these that applies.

    As a number, what stands in :attr:`Column.status`.
    """

    EXPIRED = 0
    """The window starts before the retention horizon."""
    INCOMPLETE = 1
    """Some of the window is not known to be complete."""
    STALE = 2
    """The view's complete time lies further back than its ``max_lag``."""
    UNSEEN = 3
    """The view has never seen the entity."""
    EMPTY = 4
    """The window holds no tile of the entity."""
    OK = 5
    """The value rests on tiles of a complete window."""


class Column:
    """The answers of one selector, a row for each entity of the request.

    Attributes:
        view: The view.
        selector: The selector, such as ``"likes@7d"``.
    """

    def __init__(self, raw: RawColumn, name: str, selector: str, rows: int) -> None:
        self._raw = raw
        self._rows = rows
        self.name = name
        self.selector = selector
        self.view = raw.view

    def __len__(self) -> int:
        return self._rows

    def __repr__(self) -> str:
        return f"<Column {self.name} of {self._rows} rows, {self._raw.kind}>"

    @cached_property
    def values(self) -> npt.NDArray[Any]:
        """The values, shape ``(rows,)``.

        int64 for counts and sums of integers, float64 for what is a double, where they lie in
        the answer; 0 where there is no value (see :attr:`valid`). Lists, strings, and integers
        past 64 bits come as an array of objects, with None where there is no value.
        """
        kind = self._raw.kind
        if kind in _DTYPES:
            return _numbers(self._raw.words, _DTYPES[kind])
        made = np.empty(self._rows, object)
        made[:] = self.to_list()
        return made

    @cached_property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Which rows have a value, shape ``(rows,)``, bool."""
        bits = np.frombuffer(memoryview(self._raw.validity), np.uint8)
        return np.unpackbits(bits, count=self._rows, bitorder="little").view(np.bool_)

    @cached_property
    def status(self) -> npt.NDArray[np.uint8]:
        """The :class:`Status` of each value as its number, shape ``(rows,)``, uint8."""
        return _numbers(_asked(self._raw.statuses), np.uint8)

    @cached_property
    def tiles_read(self) -> npt.NDArray[np.uint32]:
        """How many stored tiles each value was merged from, shape ``(rows,)``, uint32."""
        return _numbers(_asked(self._raw.tiles_read), np.uint32)

    @cached_property
    def windows(self) -> npt.NDArray[np.int64]:
        """The window of each value, shape ``(rows, 2)``: start and end in milliseconds since the
        epoch, the end not included. A lifetime without a bound starts at the least int64."""
        bounds = _numbers(_asked(self._raw.bounds), np.int64).reshape(-1, 2)
        return np.broadcast_to(bounds, (self._rows, 2))

    def to_list(self) -> list[Any]:
        """The values as Python's own, None where there is no value."""
        raw = self._raw
        if raw.items is not None:
            return list(raw.items)
        if raw.kind in _DTYPES:
            pairs = zip(self.values.tolist(), self.valid.tolist(), strict=True)
            return [value if is_valid else None for value, is_valid in pairs]
        return self._lists()

    def to_arrow(self) -> Any:
        """The values as a ``pyarrow.Array`` over the same bytes, with nulls. Lists are Arrow
        lists; those with counts are lists of structs ``value`` and ``count``."""
        pa = optional("pyarrow", "arrow")
        raw = self._raw
        if raw.items is not None:
            return pa.array(_arrow_items(raw.items))
        nulls = None if self.valid.all() else pa.py_buffer(raw.validity)
        if raw.kind in _DTYPES:
            kind = pa.int64() if raw.kind == "i64" else pa.float64()
            return pa.Array.from_buffers(kind, self._rows, [nulls, pa.py_buffer(self.values)])
        items = self._arrow_list_items(pa)
        offsets = pa.py_buffer(_numbers(raw.offsets, np.int32))
        kind = pa.list_(items.type)
        return pa.Array.from_buffers(kind, self._rows, [nulls, offsets], children=[items])

    def _arrow_list_items(self, pa: Any) -> Any:
        raw = self._raw
        count = int(_numbers(raw.offsets, np.int32)[-1])
        if raw.kind == "strs":
            offsets = pa.py_buffer(_numbers(raw.words, np.int32))
            texts = pa.py_buffer(raw.texts)
            items = pa.Array.from_buffers(pa.string(), count, [None, offsets, texts])
        else:
            kind = pa.int64() if raw.kind == "i64s" else pa.float64()
            words = pa.py_buffer(_numbers(raw.words, np.dtype(np.int64)))
            items = pa.Array.from_buffers(kind, count, [None, words])
        if raw.counts is None:
            return items
        counts = pa.py_buffer(_numbers(raw.counts, np.int64))
        counts = pa.Array.from_buffers(pa.int64(), count, [None, counts])
        return pa.StructArray.from_arrays([items, counts], ["value", "count"])

    def _lists(self) -> list[Any]:
        raw = self._raw
        if raw.kind == "strs":
            ends = _numbers(raw.words, np.int32).tolist()
            texts = bytes(memoryview(_some(raw.texts)))
            pairs = zip(ends[:-1], ends[1:], strict=True)
            items: list[Any] = [texts[start:end].decode() for start, end in pairs]
        else:
            dtype = np.int64 if raw.kind == "i64s" else np.float64
            items = _numbers(raw.words, dtype).tolist()
        if raw.counts is not None:
            counts = _numbers(raw.counts, np.int64).tolist()
            items = [list(pair) for pair in zip(items, counts, strict=True)]
        ends = _numbers(raw.offsets, np.int32).tolist()
        rows = zip(ends[:-1], ends[1:], self.valid.tolist(), strict=True)
        return [items[start:end] if is_valid else None for start, end, is_valid in rows]


class WindowResult:
    """The answers of ``window_mget``: a :class:`Column` for each selector, a row for each entity,
    in the order in which they were asked for.

    Columns are found by name (``result["likes@7d"]``) or by index. Where several views were read,
    a name is the view's, a dot, and the selector's: ``"shop.likes.likes@7d"``. Any Arrow library
    takes the result as it is, through ``__arrow_c_stream__``: ``polars.DataFrame(result)``.
    """

    def __init__(
        self,
        raw: RawBatch,
        entities: Any,
        names: Sequence[str],
        selectors: Sequence[str],
        has_status: bool,
    ) -> None:
        self._entities = entities
        self._names = list(names)
        self._rows = raw.rows
        self.has_status = has_status
        columns = zip(raw.columns(), names, selectors, strict=True)
        self._columns = [
            Column(column, name, selector, self._rows) for column, name, selector in columns
        ]

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns)

    def __getitem__(self, name: str | int) -> Column:
        if isinstance(name, int):
            return self._columns[name]
        try:
            return self._columns[self._names.index(name)]
        except ValueError:
            raise KeyError(f"no column {name!r}: there are {self._names}") from None

    def __repr__(self) -> str:
        return f"<WindowResult of {self._rows} rows, columns {self._names}>"

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._names)

    @property
    def columns(self) -> list[Column]:
        """The columns."""
        return list(self._columns)

    @property
    def entities(self) -> list[str | bytes]:
        """The entities of the rows; the keys of a view of several are joined by ``\\x1f``."""
        return [_shown(entity) for entity in _entity_items(self._entities)]

    def matrix(
        self, fill: float = float("nan"), dtype: npt.DTypeLike = np.float64
    ) -> npt.NDArray[Any]:
        """All columns of numbers side by side, shape ``(rows, columns)``, as a model takes them.

        Args:
            fill: Stands where there is no value.
            dtype: The type of the matrix.
        """
        made = np.empty((self._rows, len(self._columns)), dtype)
        for index, column in enumerate(self._columns):
            values = column.values
            if values.dtype == object and any(
                not isinstance(item, (int, float, type(None))) for item in values
            ):
                raise TypeError(f"column {column.name!r} holds lists or strings, not numbers")
            made[:, index] = np.where(column.valid, values, fill)
        return made

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns as lists of Python's own values, None where there is no value."""
        return {column.name: column.to_list() for column in self._columns}

    def to_arrow(self) -> Any:
        """A ``pyarrow.RecordBatch``: ``entity``, then the columns over the same bytes. Where
        statuses were asked for, each column is followed by ``<name>.status``, a dictionary."""
        pa = optional("pyarrow", "arrow")
        arrays, names = [pa.array(self.entities)], ["entity"]
        for column in self._columns:
            arrays.append(column.to_arrow())
            names.append(column.name)
            if self.has_status:
                words = pa.array([status.name.lower() for status in Status])
                codes = pa.array(column.status.view(np.int8))
                arrays.append(pa.DictionaryArray.from_arrays(codes, words))
                names.append(f"{column.name}.status")
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` by entity. Numbers are pandas' nullable ``Int64`` and
        ``Float64`` over the same values. Statuses as in :meth:`to_arrow`, as categories."""
        pd = optional("pandas", "pandas")
        taken: dict[str, Any] = {}
        for column in self._columns:
            taken[column.name] = _pandas_array(pd, column)
            if self.has_status:
                words = [status.name.lower() for status in Status]
                taken[f"{column.name}.status"] = pd.Categorical.from_codes(column.status, words)
        return pd.DataFrame(taken, index=pd.Index(self.entities, name="entity"), copy=False)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """Arrow's C stream of one batch, as :meth:`to_arrow` has it."""
        pa = optional("pyarrow", "arrow")
        table = pa.Table.from_batches([self.to_arrow()])
        return table.__arrow_c_stream__(requested_schema)


_DTYPES: dict[str, Any] = {"i64": np.int64, "f64": np.float64}


def _numbers(buffer: Buffer | None, dtype: Any) -> npt.NDArray[Any]:
    """Numbers where they lie, or a copy where that is no address for numbers of their size."""
    kind = np.dtype(dtype).newbyteorder("<")
    if buffer is None or len(buffer) == 0:
        return np.empty(0, kind)
    found: npt.NDArray[Any] = np.frombuffer(memoryview(buffer), kind)
    return found if found.flags.aligned else found.copy()


def _some(buffer: Buffer | None) -> Buffer:
    assert buffer is not None
    return buffer


def _asked(buffer: Buffer | None) -> Buffer:
    if buffer is None:
        raise ValueError("ask for statuses: window_mget(.., status=True)")
    return buffer


def _pandas_array(pd: Any, column: Column) -> Any:
    values = column.values
    if values.dtype == np.int64:
        return pd.arrays.IntegerArray(values, ~column.valid)
    if values.dtype == np.float64:
        return pd.arrays.FloatingArray(values, ~column.valid)
    return values


def _arrow_items(items: list[Any]) -> list[Any]:
    """Integers past 64 bits have no type in Arrow that goes with the others: their digits do."""
    if any(isinstance(item, int) and not -(2**63) <= item < 2**63 for item in items):
        return [None if item is None else str(item) for item in items]
    return items


def _entity_items(entities: Any) -> list[Any]:
    if isinstance(entities, tuple):
        _, ends, data = entities
        joined, bounds = bytes(data), ends.tolist()
        return [joined[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)]
    return list(entities)


def _shown(entity: Any) -> str | bytes:
    if isinstance(entity, tuple):
        return KEY_SEPARATOR.join(str(_shown(key)) for key in entity)
    if isinstance(entity, bytes):
        try:
            return entity.decode()
        except UnicodeDecodeError:
            return entity
    return entity if isinstance(entity, str) else str(entity)
