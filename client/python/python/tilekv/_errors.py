"""The exceptions of the package: one for each code of the server, and those of the way to it."""

from __future__ import annotations


class TileKVError(Exception):
    """Something asked of the server did not come about.

    Attributes:
        code: The server's code, such as ``"NOVIEW"``; None where the refusal is not the server's.
        may_have_been_applied: Whether the request may have taken effect although it failed: it
            was sent, and no answer came. A refusal never has an effect.
    """

    def __init__(
        self, message: str, *, code: str | None = None, may_have_been_applied: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.may_have_been_applied = may_have_been_applied


class RefusedError(TileKVError):
    """The server refuses the command, with ``ERR`` or a code without a class of its own."""


class NoViewError(TileKVError):
    """``NOVIEW``: no view has that name."""


class NoFeatureError(TileKVError):
    """``NOFEATURE``: the view has no such feature."""


class BadWindowError(TileKVError):
    """``BADWINDOW``: a window or offset is malformed or no multiple of the tile size."""


class BadValueError(TileKVError, ValueError):
    """``BADVALUE``: a value, entity, time or partial is not of its type. Nothing was applied."""


class TooOldError(TileKVError):
    """``TOOOLD``: the event or tile lies before the view's retention horizon."""


class OutOfOrderError(TileKVError):
    """``OUTOFORDER``: a producer's sequence does not follow its last one.

    Attributes:
        last: The last sequence that was applied; None where there is none.
    """

    last: int | None = None


class EmptyJobError(TileKVError):
    """``EMPTYJOB``: a job that took no row, or fewer than the view's ``MINROWS``."""


class RowCountError(TileKVError):
    """``ROWCOUNT``: a job took another number of rows than its commit names."""


class NoJobError(TileKVError):
    """``NOJOB``: the job was aborted, or the server has restarted: begin a new one."""


class BusyError(TileKVError):
    """``BUSY``: too much is waiting. Nothing was applied.

    Attributes:
        retry_ms: After how many milliseconds to try again.
    """

    retry_ms: int = 0


class LoadingError(TileKVError):
    """``LOADING``: the server is still reading its data."""


class NoAuthError(TileKVError):
    """``NOAUTH``: the server asks for a password."""


class WrongPasswordError(TileKVError):
    """``WRONGPASS``: user and password do not match."""


class NoPermissionError(TileKVError):
    """``NOPERM``: the user may not do this."""


class ReadOnlyError(TileKVError):
    """``READONLY``: the server takes no writes now."""


class LimitError(TileKVError):
    """``LIMIT``: a limit of the server was reached; the message names it."""


class WrongTypeError(TileKVError):
    """``WRONGTYPE``: the key holds another kind of value."""


class DamagedError(TileKVError):
    """``DAMAGED``: a page of the server's data cannot be read back."""


class UnreachableError(TileKVError, ConnectionError):
    """No connection came about, or it was refused at the greeting."""


class LostError(TileKVError, ConnectionError):
    """The connection ended before the answer came."""


class TimedOutError(TileKVError, TimeoutError):
    """No answer came within the request's time."""


class ProtocolError(TileKVError):
    """The server answered what is not of the protocol."""


class InputError(TileKVError, ValueError):
    """What was given cannot be sent: a name, selector, row, time or option. Nothing was sent."""


class ClosedError(TileKVError):
    """The client, or the job, was closed before the call."""


_CLASSES: dict[str, type[TileKVError]] = {
    "NOVIEW": NoViewError,
    "NOFEATURE": NoFeatureError,
    "BADWINDOW": BadWindowError,
    "BADVALUE": BadValueError,
    "TOOOLD": TooOldError,
    "OUTOFORDER": OutOfOrderError,
    "EMPTYJOB": EmptyJobError,
    "ROWCOUNT": RowCountError,
    "NOJOB": NoJobError,
    "BUSY": BusyError,
    "LOADING": LoadingError,
    "NOAUTH": NoAuthError,
    "WRONGPASS": WrongPasswordError,
    "NOPERM": NoPermissionError,
    "READONLY": ReadOnlyError,
    "LIMIT": LimitError,
    "WRONGTYPE": WrongTypeError,
    "DAMAGED": DamagedError,
}

# Failures that do not come from the server have words of the extension module in place of codes.
_OWN_CLASSES: dict[str, type[TileKVError]] = {
    "CONNECT": UnreachableError,
    "LOST": LostError,
    "TIMEDOUT": TimedOutError,
    "PROTOCOL": ProtocolError,
    "INPUT": InputError,
    "CLOSED": ClosedError,
}


def make_error(
    kind: str, message: str, number: int | None, may_have_been_applied: bool
) -> TileKVError:
    """The exception for a failure of the extension module, which calls this."""
    if kind in _OWN_CLASSES:
        return _OWN_CLASSES[kind](message, may_have_been_applied=may_have_been_applied)
    made = _CLASSES.get(kind, RefusedError)(message, code=kind)
    if isinstance(made, OutOfOrderError):
        made.last = number
    elif isinstance(made, BusyError):
        made.retry_ms = number or 0
    return made
