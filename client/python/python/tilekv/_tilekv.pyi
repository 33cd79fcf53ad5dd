from typing import Any, final

@final
class Buffer:
    """Read-only bytes of an answer, behind Python's buffer protocol."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class RawColumn:
    view: str
    selector: str
    kind: str
    validity: Buffer
    words: Buffer | None
    items: list[Any] | None
    offsets: Buffer | None
    texts: Buffer | None
    counts: Buffer | None
    statuses: Buffer | None
    tiles_read: Buffer | None
    bounds: Buffer | None

@final
class RawBatch:
    @property
    def rows(self) -> int: ...
    def columns(self) -> list[RawColumn]: ...

@final
class RawJob:
    @property
    def id(self) -> str: ...

@final
class RawProducer: ...

@final
class Core:
    def __new__(
        cls,
        *,
        address: str,
        asynchronous: bool,
        username: str | None,
        password: str | None,
        client_name: str,
        connections: int,
        connect_timeout_s: float,
        request_timeout_s: float,
        retry_delays_s: list[float],
    ) -> Core: ...
    def close(self) -> None: ...
