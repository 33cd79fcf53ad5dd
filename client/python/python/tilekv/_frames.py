"""Times, durations, entities and frames of other libraries in the forms that the extension module
reads. Knows nothing of connections.

A frame is a mapping of columns, a pandas DataFrame, anything with ``__arrow_c_stream__`` or
``__arrow_c_array__`` (pyarrow, Polars, DuckDB ..), or a list of mappings, one for each row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ._errors import InputError

MS_PER_SECOND = 1000
KEY_SEPARATOR = "\x1f"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MILLISECOND = dt.timedelta(milliseconds=1)

# entities, times in milliseconds, (name, column) pairs: see input.rs.
Rows = tuple[Any, Any, list[tuple[str, Any]]]


def milliseconds(given: Any) -> int:
    """A time as milliseconds since the epoch, parts of a millisecond cut off downwards."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return int(given)
    if isinstance(given, np.datetime64):
        return int(_datetime64_ms(np.asarray([given]))[0])
    if isinstance(given, dt.datetime):
        if given.tzinfo is None:
            raise InputError(f"time {given!r}: expected one with a time zone")
        return (given - _EPOCH) // _MILLISECOND
    raise InputError(
        f"time {given!r}: expected milliseconds, a datetime with a time zone, or a datetime64"
    )


def duration(given: Any) -> str:
    """A duration as the server writes it; a number is milliseconds."""
    if isinstance(given, str):
        return given
    if isinstance(given, dt.timedelta):
        if given % _MILLISECOND:
            raise InputError(f"duration {given!r}: expected whole milliseconds")
        return f"{given // _MILLISECOND}ms"
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return f"{int(given)}ms"
    raise InputError(f"duration {given!r}: expected text such as '1h', a timedelta, or an int")


def entity_bytes(given: Any) -> bytes:
    """One entity: text, bytes, an integer, or a tuple of these for a view of several keys."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, tuple):
        return KEY_SEPARATOR.encode().join(entity_bytes(key) for key in given)
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return str(int(given)).encode()
    raise InputError(f"entity {given!r}: expected str, bytes, int, or a tuple of these")


def entity_list(given: Any) -> Any:
    """Entities of a read: a list of Python's own values, or strings back to back."""
    if isinstance(given, list):
        return given
    if isinstance(given, (str, bytes)):
        raise InputError(f"entities {given!r}: expected several, such as a list of one")
    if _is_arrow_array(given):
        return _arrow_entities(_arrow_array(given))
    if hasattr(given, "tolist"):
        return given.tolist()
    return list(given)


def time_list(given: Any) -> list[int]:
    """Times of a read, one for each entity, in milliseconds."""
    return _times(given).tolist()  # type: ignore[no-any-return]


def rows_of(
    frame: Any, entity: str | Sequence[str], time: str, columns: Iterable[str] | None
) -> Rows:
    """A frame as rows: which columns are the entity's keys and the time, which are values."""
    taken = _columns_of(frame)
    keys = [entity] if isinstance(entity, str) else list(entity)
    for name in [*keys, time]:
        if name not in taken:
            raise InputError(f"the frame has no column {name!r}: it has {sorted(taken)}")
    others = [name for name in taken if name not in keys and name != time]
    wanted = others if columns is None else list(columns)
    for name in wanted:
        if name not in taken:
            raise InputError(f"the frame has no column {name!r}: it has {sorted(taken)}")
    entities = _entities([taken[key] for key in keys])
    return entities, _times(taken[time]), [(name, _column(taken[name])) for name in wanted]


def one_row(entity: Any, time: Any, values: Mapping[str, Any]) -> Rows:
    """One event as rows."""
    columns = [(name, ("o", [_scalar(value)])) for name, value in values.items()]
    return [entity_bytes(entity)], np.asarray([milliseconds(time)], np.int64), columns


def _columns_of(frame: Any) -> dict[str, Any]:
    if isinstance(frame, Mapping):
        return dict(frame)
    if _is_pandas(frame, "DataFrame"):
        return {str(name): frame[name] for name in frame.columns}
    if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
        table = _pyarrow().table(frame)
        return {name: table.column(name) for name in table.column_names}
    if isinstance(frame, Sequence) and all(isinstance(row, Mapping) for row in frame):
        names = dict.fromkeys(name for row in frame for name in row)
        return {name: [row.get(name) for row in frame] for name in names}
    raise InputError(
        f"frame of type {type(frame).__name__}: expected a mapping of columns, a pandas, Polars or "
        "Arrow frame, or a list of mappings"
    )


def _entities(keys: list[Any]) -> Any:
    if len(keys) == 1:
        return entity_list(keys[0])
    parts = [_plain_list(key) for key in keys]
    return list(zip(*parts, strict=True))


def _plain_list(given: Any) -> list[Any]:
    if _is_arrow_array(given):
        return _arrow_array(given).to_pylist()  # type: ignore[no-any-return]
    return given.tolist() if hasattr(given, "tolist") else list(given)


def _times(given: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    if _is_arrow_array(given):
        given = _arrow_times(_arrow_array(given))
    if _is_pandas(given, "Series", "Index", "DatetimeIndex"):
        given = _pandas_times(given)
    if isinstance(given, np.ndarray) and given.dtype.kind == "M":
        return _datetime64_ms(given)
    if isinstance(given, np.ndarray) and given.dtype.kind in "iu":
        return np.ascontiguousarray(given, np.int64)
    return np.asarray([milliseconds(item) for item in given], np.int64)


def _datetime64_ms(given: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    if np.isnat(given).any():
        row = int(np.isnat(given).argmax())
        raise InputError(f"row {row}: a time is missing")
    # A change of unit in NumPy cuts towards minus infinity, as the tiles do.
    return np.ascontiguousarray(given.astype("datetime64[ms]")).view(np.int64)


def _pandas_times(series: Any) -> Any:
    if series.isna().any():
        raise InputError(f"row {int(series.isna().to_numpy().argmax())}: a time is missing")
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    values = series.to_numpy()
    return series.tolist() if values.dtype == object else values


def _column(given: Any) -> tuple[Any, ...]:
    if _is_arrow_array(given):
        return _arrow_column(_arrow_array(given))
    if _is_pandas(given, "Series"):
        return _pandas_column(given)
    if isinstance(given, np.ndarray):
        return _numpy_column(given)
    return ("o", [_scalar(item) for item in given])


def _scalar(item: Any) -> Any:
    return item.item() if isinstance(item, np.generic) else item


def _numpy_column(given: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    mask = None
    if isinstance(given, np.ma.MaskedArray):
        mask, given = np.ma.getmaskarray(given).astype(np.uint8), given.filled()
    kind = given.dtype.kind
    if kind in "ib" or (kind == "u" and given.dtype.itemsize < 8):
        return ("i", np.ascontiguousarray(given, np.int64), mask)
    if kind == "f":
        # NumPy has no null: programs write NaN for it, and the store has no NaN.
        null = np.isnan(given)
        if mask is not None:
            null |= mask.astype(bool)
        values = np.ascontiguousarray(np.where(null, 0.0, given), np.float64)
        return ("f", values, null.astype(np.uint8) if null.any() else None)
    return ("o", given.tolist())


def _pandas_column(series: Any) -> tuple[Any, ...]:
    null = series.isna().to_numpy()
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iub" and hasattr(series.dtype, "numpy_dtype"):
        values = series.to_numpy(np.int64, na_value=0)
        return ("i", np.ascontiguousarray(values), null.astype(np.uint8) if null.any() else None)
    if kind == "f":
        return _numpy_column(series.to_numpy(np.float64, na_value=np.nan))
    values = series.to_numpy()
    if values.dtype == object or kind not in "iub":
        pairs = zip(series.tolist(), null.tolist(), strict=True)
        return ("o", [None if is_null else _scalar(item) for item, is_null in pairs])
    return _numpy_column(values)


def _arrow_column(array: Any) -> tuple[Any, ...]:
    pa = _pyarrow()
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    mask = None
    if array.null_count:
        mask = array.is_null().to_numpy(zero_copy_only=False).astype(np.uint8)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return ("i", _arrow_numbers(array.cast(pa.int64()), np.int64), mask)
    if pa.types.is_floating(kind):
        return ("f", _arrow_numbers(array.cast(pa.float64()), np.float64), mask)
    if pa.types.is_null(kind):
        return ("o", [None] * len(array))
    offsets, data = _arrow_texts(array)
    return ("s", offsets, data, mask)


def _arrow_entities(array: Any) -> Any:
    pa = _pyarrow()
    if array.null_count:
        raise InputError("an entity is missing")
    if pa.types.is_integer(array.type):
        return array.to_pylist()
    return ("s", *_arrow_texts(array))


def _arrow_texts(array: Any) -> tuple[Any, Any]:
    """Offsets of eight bytes and the bytes of an array of strings."""
    array = array.cast(_pyarrow().large_binary())
    _, offsets, data = array.buffers()
    found = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    if len(found) == 0:
        found = np.zeros(1, np.int64)
    start = int(found[0])
    used = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return found - start, used[start : int(found[-1])]


def _arrow_numbers(array: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """The values of a column of eight bytes each, where they lie; any value where null."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]


def _arrow_times(array: Any) -> Any:
    pa = _pyarrow()
    if array.null_count:
        raise InputError("a time is missing")
    if pa.types.is_timestamp(array.type):
        # As NumPy, so that parts of a millisecond are cut downwards.
        unit = array.type.unit
        return _arrow_numbers(array.cast(pa.int64()), np.int64).view(f"datetime64[{unit}]")
    return _arrow_numbers(array.cast(pa.int64()), np.int64)


def _is_arrow_array(given: Any) -> bool:
    return hasattr(given, "__arrow_c_array__") or (
        hasattr(given, "__arrow_c_stream__") and not _is_pandas(given, "Series", "DataFrame")
    )


def _arrow_array(given: Any) -> Any:
    pa = _pyarrow()
    array = given if isinstance(given, (pa.Array, pa.ChunkedArray)) else pa.chunked_array(given)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.chunks else pa.array([], array.type)
    return array


def _is_pandas(given: Any, *names: str) -> bool:
    kind = type(given)
    return kind.__module__.partition(".")[0] == "pandas" and kind.__name__ in names


def _pyarrow() -> Any:
    return optional("pyarrow", "arrow")


def optional(module: str, extra: str) -> Any:
    """A library that only some calls need."""
    importer: Callable[[str], Any] = __import__
    try:
        return importer(module)
    except ImportError as error:
        message = f"{module} is needed here: pip install 'tilekv[{extra}]'"
        raise ImportError(message) from error
