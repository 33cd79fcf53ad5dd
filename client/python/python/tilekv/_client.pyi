import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from ._result import WindowResult
from ._types import Seal, Tile, ViewInfo
from ._writers import AsyncJob, AsyncProducer, Job, Producer

_Key: TypeAlias = str | bytes | int | np.integer[Any]
_Entity: TypeAlias = _Key | tuple[_Key, ...]
# A list, NumPy or Arrow array, or pandas or Polars Series of entities.
_Entities: TypeAlias = Any
# Milliseconds since the epoch, or a datetime with a time zone.
_Time: TypeAlias = int | np.integer[Any] | dt.datetime | np.datetime64
# Text such as "1h", or milliseconds.
_Duration: TypeAlias = str | int | dt.timedelta
# A mapping of columns, a pandas, Polars or Arrow frame, or a list of mappings.
_Frame: TypeAlias = Any
_Edge: TypeAlias = Literal["closed", "live"]
_SealMode: TypeAlias = Literal["off", "required"]
_Late: TypeAlias = Literal["add", "drop"]
_Type: TypeAlias = Literal["i64", "f64", "str"]
_Stamp: TypeAlias = tuple[str | bytes, int]
_After: TypeAlias = int | Literal["-"]
_Argument: TypeAlias = str | bytes | int
_Reply: TypeAlias = Any

class Client:
    def __init__(
        self,
        address: str = ...,
        *,
        username: str | None = ...,
        password: str | None = ...,
        client_name: str = ...,
        connections: int = ...,
        connect_timeout: float = ...,
        request_timeout: float = ...,
        retries: int = ...,
        retry_delay: float = ...,
        retry_delay_max: float = ...,
    ) -> None: ...
    def server(self) -> str: ...
    def ping(self) -> float: ...
    def command(self, *arguments: _Argument) -> _Reply: ...
    def commands(
        self, commands: Iterable[Iterable[_Argument]], *, again: bool = ...
    ) -> list[_Reply]: ...
    def gather(
        self,
        reads: Iterable[Mapping[str, Any]] = ...,
        commands: Iterable[Iterable[_Argument]] = ...,
        *,
        again: bool = ...,
        then: Callable[[Any], Any] | None = ...,
    ) -> Any: ...
    def create_view(
        self,
        view: str,
        *,
        tile: _Duration,
        columns: Mapping[str, _Type],
        features: Mapping[str, str],
        retention: _Duration | None = ...,
        edge: _Edge | None = ...,
        seal: _SealMode | None = ...,
        max_lag: _Duration | None = ...,
        late: _Late | None = ...,
        min_rows: int | None = ...,
        levels: Iterable[_Duration] | None = ...,
        keys: Iterable[str] | None = ...,
    ) -> None: ...
    def alter_view(
        self,
        view: str,
        *,
        add_columns: Mapping[str, _Type] | None = ...,
        add_features: Mapping[str, str] | None = ...,
        retention: _Duration | None = ...,
        edge: _Edge | None = ...,
        seal: _SealMode | None = ...,
        max_lag: _Duration | None = ...,
        late: _Late | None = ...,
        min_rows: int | None = ...,
    ) -> None: ...
    def drop_view(self, view: str) -> None: ...
    def views(self) -> list[str]: ...
    def view_info(self, view: str) -> ViewInfo: ...
    def window_mget(
        self,
        view: str,
        entities: _Entities,
        selectors: str | Iterable[str],
        at: _Time | None = ...,
        ats: Any = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
        status: bool = ...,
    ) -> WindowResult: ...
    def read(
        self,
        views: Mapping[str, str | Iterable[str]],
        entities: _Entities,
        at: _Time | None = ...,
        ats: Any = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
        status: bool = ...,
    ) -> WindowResult: ...
    def window_get(
        self,
        view: str,
        entity: _Entity,
        selectors: str | Iterable[str],
        at: _Time | None = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
    ) -> dict[str, Any]: ...
    def explain(
        self,
        view: str,
        entity: _Entity,
        selector: str,
        at: _Time | None = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
    ) -> dict[str, Any]: ...
    def add(
        self,
        view: str,
        entity: _Entity,
        time: _Time,
        /,
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
        **values: Any,
    ) -> int: ...
    def madd(
        self,
        view: str,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> int: ...
    def producer(self, view: str, id: str | bytes) -> Producer: ...
    def producer_last(self, view: str, id: str | bytes) -> int | None: ...
    def set_tile(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        partials: Mapping[str, Any],
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> None: ...
    def merge_tile(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        partials: Mapping[str, Any],
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> None: ...
    def tiles(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        end: _Time,
        features: Iterable[str] | None = ...,
    ) -> list[Tile]: ...
    def delete_tiles(self, view: str, entity: _Entity, start: _Time, end: _Time) -> int: ...
    def delete_entity(self, entity: _Entity, views: Iterable[str] | None = ...) -> int: ...
    def add_seal(self, view: str, start: _Time, end: _Time) -> None: ...
    def delete_seal(self, view: str, start: _Time, end: _Time) -> None: ...
    def seals(self, view: str) -> list[Seal]: ...
    def jobs(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...
    def job(
        self,
        view: str,
        start: _Time,
        end: _Time,
        *,
        mode: Literal["replace", "merge"] = ...,
        timeout: _Duration | None = ...,
        token: str | None = ...,
        allow_empty: bool = ...,
        seal: bool = ...,
    ) -> Job: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

class AsyncClient:
    def __init__(
        self,
        address: str = ...,
        *,
        username: str | None = ...,
        password: str | None = ...,
        client_name: str = ...,
        connections: int = ...,
        connect_timeout: float = ...,
        request_timeout: float = ...,
        retries: int = ...,
        retry_delay: float = ...,
        retry_delay_max: float = ...,
    ) -> None: ...
    async def server(self) -> str: ...
    async def ping(self) -> float: ...
    async def command(self, *arguments: _Argument) -> _Reply: ...
    async def commands(
        self, commands: Iterable[Iterable[_Argument]], *, again: bool = ...
    ) -> list[_Reply]: ...
    async def gather(
        self,
        reads: Iterable[Mapping[str, Any]] = ...,
        commands: Iterable[Iterable[_Argument]] = ...,
        *,
        again: bool = ...,
        then: Callable[[Any], Any] | None = ...,
    ) -> Any: ...
    async def create_view(
        self,
        view: str,
        *,
        tile: _Duration,
        columns: Mapping[str, _Type],
        features: Mapping[str, str],
        retention: _Duration | None = ...,
        edge: _Edge | None = ...,
        seal: _SealMode | None = ...,
        max_lag: _Duration | None = ...,
        late: _Late | None = ...,
        min_rows: int | None = ...,
        levels: Iterable[_Duration] | None = ...,
        keys: Iterable[str] | None = ...,
    ) -> None: ...
    async def alter_view(
        self,
        view: str,
        *,
        add_columns: Mapping[str, _Type] | None = ...,
        add_features: Mapping[str, str] | None = ...,
        retention: _Duration | None = ...,
        edge: _Edge | None = ...,
        seal: _SealMode | None = ...,
        max_lag: _Duration | None = ...,
        late: _Late | None = ...,
        min_rows: int | None = ...,
    ) -> None: ...
    async def drop_view(self, view: str) -> None: ...
    async def views(self) -> list[str]: ...
    async def view_info(self, view: str) -> ViewInfo: ...
    async def window_mget(
        self,
        view: str,
        entities: _Entities,
        selectors: str | Iterable[str],
        at: _Time | None = ...,
        ats: Any = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
        status: bool = ...,
    ) -> WindowResult: ...
    async def read(
        self,
        views: Mapping[str, str | Iterable[str]],
        entities: _Entities,
        at: _Time | None = ...,
        ats: Any = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
        status: bool = ...,
    ) -> WindowResult: ...
    async def window_get(
        self,
        view: str,
        entity: _Entity,
        selectors: str | Iterable[str],
        at: _Time | None = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
    ) -> dict[str, Any]: ...
    async def explain(
        self,
        view: str,
        entity: _Entity,
        selector: str,
        at: _Time | None = ...,
        known: bool = ...,
        edge: _Edge | None = ...,
    ) -> dict[str, Any]: ...
    async def add(
        self,
        view: str,
        entity: _Entity,
        time: _Time,
        /,
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
        **values: Any,
    ) -> int: ...
    async def madd(
        self,
        view: str,
        frame: _Frame,
        *,
        entity: str | Sequence[str] = ...,
        time: str = ...,
        columns: Iterable[str] | None = ...,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> int: ...
    async def producer(self, view: str, id: str | bytes) -> AsyncProducer: ...
    async def producer_last(self, view: str, id: str | bytes) -> int | None: ...
    async def set_tile(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        partials: Mapping[str, Any],
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> None: ...
    async def merge_tile(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        partials: Mapping[str, Any],
        *,
        producer: _Stamp | None = ...,
        after: _After | None = ...,
    ) -> None: ...
    async def tiles(
        self,
        view: str,
        entity: _Entity,
        start: _Time,
        end: _Time,
        features: Iterable[str] | None = ...,
    ) -> list[Tile]: ...
    async def delete_tiles(self, view: str, entity: _Entity, start: _Time, end: _Time) -> int: ...
    async def delete_entity(self, entity: _Entity, views: Iterable[str] | None = ...) -> int: ...
    async def add_seal(self, view: str, start: _Time, end: _Time) -> None: ...
    async def delete_seal(self, view: str, start: _Time, end: _Time) -> None: ...
    async def seals(self, view: str) -> list[Seal]: ...
    async def jobs(self) -> list[dict[str, Any]]: ...
    async def close(self) -> None: ...
    def job(
        self,
        view: str,
        start: _Time,
        end: _Time,
        *,
        mode: Literal["replace", "merge"] = ...,
        timeout: _Duration | None = ...,
        token: str | None = ...,
        allow_empty: bool = ...,
        seal: bool = ...,
    ) -> AsyncJob: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
