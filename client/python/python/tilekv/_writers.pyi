import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np

_Key: TypeAlias = str | bytes | int | np.integer[Any]
_Entity: TypeAlias = _Key | tuple[_Key, ...]
# Milliseconds since the epoch, or a datetime with a time zone.
_Time: TypeAlias = int | np.integer[Any] | dt.datetime | np.datetime64
# A mapping of columns, a pandas, Polars or Arrow frame, or a list of mappings.
_Frame: TypeAlias = Any

class Job:
    @property
    def id(self) -> str | None: ...
    def begin(self) -> Self: ...
    def write(
        self,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
    ) -> int: ...
    def write_tiles(self, tiles: Iterable[tuple[_Entity, _Time, Mapping[str, Any]]]) -> int: ...
    def commit(self, rows: int | None = ...) -> int: ...
    def abort(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class Producer:
    def send(
        self,
        sequence: int,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
    ) -> bool: ...
    def flush(self) -> int | None: ...
    def last(self) -> int | None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class AsyncJob:
    @property
    def id(self) -> str | None: ...
    async def begin(self) -> Self: ...
    async def write(
        self,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
    ) -> int: ...
    async def write_tiles(self, tiles: Iterable[tuple[_Entity, _Time, Mapping[str, Any]]]) -> int: ...
    async def commit(self, rows: int | None = ...) -> int: ...
    async def abort(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class AsyncProducer:
    async def send(
        self,
        sequence: int,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
    ) -> bool: ...
    async def flush(self) -> int | None: ...
    async def last(self) -> int | None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
def json_text(partial: Any) -> str: ...
