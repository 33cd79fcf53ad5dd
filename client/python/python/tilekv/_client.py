"""The clients. One body of calls serves both faces: each call hands plain values to the extension
module, which answers at once (:class:`Client`) or with a future (:class:`AsyncClient`). What each
call returns, typed for either face, stands in ``_client.pyi``.
"""

from __future__ import annotations

import json

from . import _frames
from ._errors import InputError
from ._result import WindowResult
from ._tilekv import Core
from ._types import Seal, Tile, ViewInfo
from ._writers import AsyncJob, AsyncProducer, Job, Producer, json_text


class _Calls:
    """The calls of both faces. On :class:`AsyncClient` each is awaited."""

    _asynchronous: bool
    _job_class: type
    _producer_class: type

    def __init__(
        self,
        address="127.0.0.1:8453",
        *,
        username=None,
        password=None,
        client_name="tilekv-python",
        connections=1,
        connect_timeout=2.0,
        request_timeout=10.0,
        retries=8,
        retry_delay=0.05,
        retry_delay_max=2.0,
    ):
        """A client of one server; it connects with its first request.

        Reads, and writes with a producer's sequence, are sent again after a lost connection and
        while the server is busy. Other writes are not, once they may have been carried out: the
        error says so in ``may_have_been_applied``.

        Args:
            address: Host and port.
            username: None is the default user.
            password: None where the server asks for none.
            client_name: The name in the server's list of clients.
            connections: How many connections are opened, each when first needed. Requests are
                pipelined, so that one is enough unless a core of the server is not.
            connect_timeout: Seconds that one attempt to connect may take.
            request_timeout: Seconds that one request may wait for its answer.
            retries: How often a lost request, or an attempt to connect, is made again.
            retry_delay: Seconds before the first of these; doubled before each next one.
            retry_delay_max: The longest of these waits, in seconds.
        """
        delays = [min(retry_delay * 2**index, retry_delay_max) for index in range(retries)]
        self._core = Core(
            address=address,
            asynchronous=self._asynchronous,
            username=username,
            password=password,
            client_name=client_name,
            connections=connections,
            connect_timeout_s=float(connect_timeout),
            request_timeout_s=float(request_timeout),
            retry_delays_s=delays,
        )

    def server(self):
        """Connects; gives the server's name and version."""
        return self._core.server()

    def ping(self):
        """The time of an echo, in seconds."""
        return self._core.ping()

    def command(self, *arguments):
        """Carries out any command of the protocol, each argument str, bytes or int.

        Returns:
            The reply: strings as bytes, short texts such as OK as str, lists, dicts, None.
        """
        return self._run(list(arguments), _first, again=False)

    def commands(self, commands, *, again=False):
        """Carries out commands that are all under way at once: one round trip.

        Args:
            commands: A list of lists of arguments, each str, bytes or int.
            again: Whether they may be carried out twice, as reads may: then they are sent again
                after a lost connection.

        Returns:
            The list of their replies, as :meth:`command` has them.
        """
        return self.gather((), commands, again=again, then=lambda both: both[1])

    def gather(self, reads=(), commands=(), *, again=False, then=None):
        """Reads and commands that are all under way at once: one round trip.

        Args:
            reads: A list of dicts of the arguments of :meth:`read`, such as
                ``{"views": {"shop": ["orders@1d"]}, "entities": ["u:42"]}``.
            commands: As ``again``, see :meth:`commands`.
            then: Makes the answer of both lists; None gives them as they are.

        Returns:
            The list of results and the list of replies.
        """
        asked = [self._asked(several=True, **read) for read in reads]

        def convert(both):
            raws, replies = both
            results = [make(raw) for (_, make), raw in zip(asked, raws, strict=True)]
            return (results, replies) if then is None else then((results, replies))

        commands = [list(command) for command in commands]
        return self._core.gather([read for read, _ in asked], commands, again, convert)

    # Views

    def create_view(
        self,
        view,
        *,
        tile,
        columns,
        features,
        retention=None,
        edge=None,
        seal=None,
        max_lag=None,
        late=None,
        min_rows=None,
        levels=None,
        keys=None,
    ):
        """Creates a view. Durations are text such as "1h", timedeltas, or milliseconds.

        Args:
            view: Its name.
            tile: The tile size.
            columns: The input columns: name to "i64", "f64" or "str".
            features: Name to expression, such as ``{"spend": "sum(amount)"}``.
            retention: How long tiles are kept; None is for ever.
            edge: "closed" (the default) or "live".
            seal: "off" (the default) or "required".
            max_lag: The lag beyond which values are stale; None is never.
            late: "add" (the default) or "drop": what happens to events in sealed ranges.
            min_rows: The rows below which a job's commit is refused.
            levels: The coarser tile sizes to keep; None leaves the choice to the server.
            keys: The names of the join keys; None is one, ``entity``.

        Raises:
            RefusedError: A view of that name has another definition, or a setting is malformed.
        """
        arguments = ["VIEW.CREATE", view, "TILE", _frames.duration(tile)]
        settings = {"EDGE": edge, "SEAL": seal, "LATE": late, "MINROWS": min_rows}
        spans = {"RETENTION": retention, "MAXLAG": max_lag}
        settings |= {name: span and _frames.duration(span) for name, span in spans.items()}
        arguments += _settings(settings)
        if levels is not None:
            arguments += _counted("LEVELS", [_frames.duration(level) for level in levels])
        if keys is not None:
            arguments += _counted("KEYS", list(keys))
        arguments += _counted("COLUMNS", [f"{name}:{kind}" for name, kind in columns.items()])
        arguments += _counted("FEATURES", [f"{name}={text}" for name, text in features.items()])
        return self._run(arguments, _nothing)

    def alter_view(
        self,
        view,
        *,
        add_columns=None,
        add_features=None,
        retention=None,
        edge=None,
        seal=None,
        max_lag=None,
        late=None,
        min_rows=None,
    ):
        """Adds columns and features to a view, or changes its settings; what is None stays.

        ``retention`` and ``max_lag`` also take "none". The rest is as in :meth:`create_view`.
        """
        arguments = ["VIEW.ALTER", view]
        if add_columns:
            added = [f"{name}:{kind}" for name, kind in add_columns.items()]
            arguments += ["ADD", *_counted("COLUMNS", added)]
        if add_features:
            added = [f"{name}={text}" for name, text in add_features.items()]
            arguments += ["ADD", *_counted("FEATURES", added)]
        settings = {"EDGE": edge, "SEAL": seal, "LATE": late, "MINROWS": min_rows}
        spans = {"RETENTION": retention, "MAXLAG": max_lag}
        settings |= {name: span and _frames.duration(span) for name, span in spans.items()}
        return self._run(arguments + _settings(settings), _nothing)

    def drop_view(self, view):
        """Drops a view with its tiles, seals and producers."""
        return self._run(["VIEW.DROP", view], _nothing)

    def views(self):
        """The names of all views."""
        return self._run(["VIEW.LIST"], lambda replies: _texts(replies[0]), again=True)

    def view_info(self, view):
        """What a view is and holds, as :class:`ViewInfo`."""
        return self._run(["VIEW.INFO", view], lambda replies: _view_info(replies[0]), again=True)

    # Reads

    def window_mget(
        self,
        view,
        entities,
        selectors,
        at=None,
        ats=None,
        known=False,
        edge=None,
        status=False,
    ):
        """Windows of many entities in one request.

        Args:
            view: The view.
            entities: ``n`` entities: a list, NumPy or Arrow array, or pandas Series of str, bytes
                or int; tuples of these for a view of several keys.
            selectors: ``m`` windows, such as ``["likes@1h", "likes@7d:1d"]``.
            at: The time of the read: milliseconds since the epoch, or a datetime with a time zone.
                None is the server's clock.
            ats: A time for each entity in place of ``at``, shape ``(n,)``.
            known: With ``at`` or ``ats``: only seals that had been made by then count.
            edge: "closed" or "live"; None is the view's own.
            status: Whether statuses, windows and numbers of tiles come with the values.

        Returns:
            A :class:`WindowResult` of ``n`` rows and ``m`` columns.

        Raises:
            NoViewError, NoFeatureError, BadWindowError: What is asked for does not exist.
            BadValueError: An entity has not the form that the view's keys ask for.
        """
        return self._read({view: selectors}, entities, at, ats, known, edge, status, False)

    def read(
        self,
        views,
        entities,
        at=None,
        ats=None,
        known=False,
        edge=None,
        status=False,
    ):
        """Windows of several views in one request, as of one moment.

        Args:
            views: View to its selectors. The columns of the result are named
                ``<view>.<selector>``.
            entities: As the other arguments, see :meth:`window_mget`.
        """
        return self._read(views, entities, at, ats, known, edge, status, True)

    def window_get(self, view, entity, selectors, at=None, known=False, edge=None):
        """Windows of one entity: a dict of selector to value, None where there is no value."""

        def first(result):
            return {name: values[0] for name, values in result.to_dict().items()}

        return self._read({view: selectors}, [entity], at, None, known, edge, False, False, first)

    def explain(self, view, entity, selector, at=None, known=False, edge=None):
        """How a window came to its value: a dict of the fields of ``WINDOW.EXPLAIN``."""
        arguments = ["WINDOW.EXPLAIN", view, _frames.entity_bytes(entity), selector]
        if at is not None:
            arguments += ["AT", _frames.milliseconds(at)]
        if known:
            arguments.append("KNOWN")
        arguments += _settings({"EDGE": edge})
        return self._run(arguments, lambda replies: _decoded(replies[0]), again=True)

    # Events

    def add(self, view, entity, time, /, *, producer=None, after=None, **values):
        """Adds one event; columns of the view are named by the further arguments.

        Args:
            view: The view.
            entity: str, bytes, int, or a tuple of these for a view of several keys.
            time: Milliseconds since the epoch, or a datetime with a time zone.
            producer: Counts once under ``(id, sequence)``, and is then sent again where it was
                lost. One id is one writer whose sequences grow.
            after: The sequence before it, or "-" for none: refused unless that was the last.

        Returns:
            1, or 0 where the sequence had been applied before or the event is older than the
            view's retention.

        Raises:
            BadValueError: A value is not of its column's type.
            OutOfOrderError: The sequence does not follow.
        """
        rows = _frames.one_row(entity, time, values)
        return self._core.add(view, *rows, _stamp(producer, after))

    def madd(
        self,
        view,
        frame,
        *,
        entity="entity",
        time="time",
        columns=None,
        producer=None,
        after=None,
    ):
        """Adds many events: all of them, or none where one is refused.

        Args:
            view: The view.
            frame: ``n`` rows: a mapping of columns (lists, NumPy or Arrow arrays), a pandas or
                Polars DataFrame, anything of Arrow's, or a list of mappings. NaN in NumPy and
                pandas is null; so are None, and nulls of Arrow.
            entity: The column of the entity; several for a view of several keys.
            time: The column of the time: milliseconds since the epoch, or a time of the library.
                Parts of a millisecond are cut off.
            columns: The columns that are values of the view; None is all others.
            producer: As ``after``, see :meth:`add`.

        Returns:
            How many rows were applied. The rest lie before the retention horizon.
        """
        rows = _frames.rows_of(frame, entity, time, columns)
        return self._core.add(view, *rows, _stamp(producer, after))

    def producer(self, view, id):
        """Opens an ordered writer whose events count exactly once: see :class:`Producer`."""
        return self._core.producer(view, _frames.entity_bytes(id), self._producer_class)

    def producer_last(self, view, id):
        """The last sequence that was applied of a producer, or None."""
        return self._run(["PRODUCER.GET", view, id], _first, again=True)

    # Tiles

    def set_tile(self, view, entity, start, partials, *, producer=None, after=None):
        """Replaces a tile; features that are left out become empty.

        Args:
            start: The tile's start: milliseconds since the epoch or a datetime.
            partials: Feature to partial, as :meth:`tiles` gives them.
            producer: As ``after``, see :meth:`add`.
        """
        return self._write_tile("TILE.SET", view, entity, start, partials, producer, after)

    def merge_tile(self, view, entity, start, partials, *, producer=None, after=None):
        """Merges partials into a tile; features that are left out stay. See :meth:`set_tile`."""
        return self._write_tile("TILE.MERGE", view, entity, start, partials, producer, after)

    def tiles(self, view, entity, start, end, features=None):
        """The stored tiles of an entity that start in ``[start, end)``, ascending.

        Args:
            features: Which partials; None is all of the view.

        Returns:
            A list of :class:`Tile`.
        """
        bounds = [_frames.milliseconds(start), _frames.milliseconds(end)]
        arguments = ["TILE.RANGE", view, _frames.entity_bytes(entity), *bounds]
        if features is not None:
            features = list(features)
            arguments += _counted("FEATURES", features)

        def convert(replies):
            found, info = replies
            names = features
            if names is None:
                names = [text.split("=")[0] for text in _view_info(info).definition["features"]]
            return [_tile(names, tile) for tile in found]

        commands = [arguments, ["VIEW.INFO", view]]
        return self.gather((), commands, again=True, then=lambda both: convert(both[1]))

    def delete_tiles(self, view, entity, start, end):
        """Deletes the tiles of an entity that start in ``[start, end)``; gives how many."""
        bounds = [_frames.milliseconds(start), _frames.milliseconds(end)]
        return self._run(["TILE.DEL", view, _frames.entity_bytes(entity), *bounds], _first)

    def delete_entity(self, entity, views=None):
        """Deletes an entity from these views, or from all; gives how many tiles it had."""
        arguments = ["ENTITY.DEL", _frames.entity_bytes(entity)]
        if views is not None:
            arguments += _counted("VIEWS", list(views))
        return self._run(arguments, _first)

    # Seals

    def add_seal(self, view, start, end):
        """States that ``[start, end)`` of a view's time is complete, empty or not."""
        return self._seal("SEAL.ADD", view, start, end)

    def delete_seal(self, view, start, end):
        """Withdraws that statement."""
        return self._seal("SEAL.DEL", view, start, end)

    def seals(self, view):
        """The sealed ranges of a view, ascending: a list of :class:`Seal`."""
        convert = lambda replies: [Seal(*seal) for seal in replies[0]]  # noqa: E731
        return self._run(["SEAL.LIST", view], convert, again=True)

    # Jobs

    def job(
        self,
        view,
        start,
        end,
        *,
        mode="replace",
        timeout=None,
        token=None,
        allow_empty=False,
        seal=True,
    ):
        """A job: rows for ``[start, end)`` of a view that are published all at once.

        It begins with ``with`` (``async with``), commits where the block ends, and is aborted
        where the block raises::

            with client.job("shop", start, end) as job:
                job.write(frame)

        Args:
            start: Milliseconds since the epoch or a datetime, a multiple of the tile size.
            end: The first millisecond after it.
            mode: "replace" removes what the range held, "merge" adds to it.
            timeout: How long the job may go without a command before the server aborts it.
            token: A driver that begins again with the same token goes on with the same job, and
                what it writes again counts once.
            allow_empty: Whether a job without rows is committed; else it is refused.
            seal: Whether the range is sealed by the commit.
        """
        span = (_frames.milliseconds(start), _frames.milliseconds(end))
        if mode not in ("replace", "merge"):
            raise InputError(f"mode {mode!r}: expected 'replace' or 'merge'")
        timeout = None if timeout is None else _frames.duration(timeout)
        begin = (view, *span, mode == "merge", timeout, token)
        return self._job_class(self._core, begin, allow_empty, seal)

    def jobs(self):
        """All jobs that the server knows: a list of dicts as ``JOB.INFO`` has them."""
        return self._run(["JOB.LIST"], lambda replies: _decoded(replies[0]), again=True)

    # Helpers

    def _run(self, arguments, convert, again=False):
        return self._core.gather([], [arguments], again, lambda both: convert(both[1]))

    def _read(self, views, entities, at, ats, known, edge, status, several, then=None):
        read, make = self._asked(views, entities, at, ats, known, edge, status, several)
        if then is None:
            return self._core.read(read, make)
        return self._core.read(read, lambda raw: then(make(raw)))

    def _asked(
        self,
        views,
        entities,
        at=None,
        ats=None,
        known=False,
        edge=None,
        status=False,
        several=False,
    ):
        """A read as the extension module takes it, and what makes its result."""
        if at is not None and ats is not None:
            raise InputError("both at and ats: expected one of them")
        groups = [(view, _selectors(selectors)) for view, selectors in views.items()]
        selectors = [selector for _, group in groups for selector in group]
        names = selectors
        if several:
            names = [f"{view}.{selector}" for view, group in groups for selector in group]
        entities = _frames.entity_list(entities)
        at = None if at is None else _frames.milliseconds(at)
        ats = None if ats is None else _frames.time_list(ats)
        live = None if edge is None else _is_live(edge)

        def make(raw):
            return WindowResult(raw, entities, names, selectors, status)

        return (groups, entities, at, ats, known, live, status), make

    def _write_tile(self, command, view, entity, start, partials, producer, after):
        arguments = [command, view, _frames.entity_bytes(entity), _frames.milliseconds(start)]
        for feature, partial in partials.items():
            arguments += [feature, json_text(partial)]
        if producer is not None:
            arguments += ["PRODUCER", *producer]
        if after is not None:
            arguments += ["AFTER", after]
        return self._run(arguments, _nothing, again=producer is not None)

    def _seal(self, command, view, start, end):
        bounds = [_frames.milliseconds(start), _frames.milliseconds(end)]
        return self._run([command, view, *bounds], _nothing)


class Client(_Calls):
    """A client of one server whose calls return when the answer is there. Other threads run
    meanwhile, and may use the same client: their requests share its connections."""

    _asynchronous = False

    def close(self):
        """Closes the connections. Later calls raise :class:`ClosedError`."""
        self._core.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncClient(_Calls):
    """A client of one server for asyncio: every call but ``job`` is awaited. A call that is
    cancelled stops waiting; what was sent may still be carried out."""

    _asynchronous = True

    async def close(self):
        """Closes the connections. Later calls raise :class:`ClosedError`."""
        self._core.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


Client._job_class, Client._producer_class = Job, Producer
AsyncClient._job_class, AsyncClient._producer_class = AsyncJob, AsyncProducer


def _selectors(given):
    return [given] if isinstance(given, str) else list(given)


def _is_live(edge):
    if edge not in ("closed", "live"):
        raise InputError(f"edge {edge!r}: expected 'closed' or 'live'")
    return edge == "live"


def _stamp(producer, after):
    if producer is None:
        if after is not None:
            raise InputError("after without a producer")
        return None
    id, sequence = producer
    last = None if after in (None, "-") else after
    return _frames.entity_bytes(id), sequence, after is not None, last


def _settings(settings):
    named = [(keyword, value) for keyword, value in settings.items() if value is not None]
    return [part for pair in named for part in pair]


def _counted(keyword, items):
    return [keyword, len(items), *items]


def _first(replies):
    return replies[0]


def _nothing(replies):
    return None


def _tile(names, reply):
    start, partials = reply
    return Tile(start, {n: json.loads(text) for n, text in zip(names, partials, strict=True)})


def _view_info(reply):
    fields = _decoded(reply)
    fields["seals"] = [Seal(*seal) for seal in fields["seals"]]
    return ViewInfo(**{name: fields[name] for name in ViewInfo.__dataclass_fields__})


def _texts(reply):
    return [item.decode() if isinstance(item, bytes) else item for item in reply]


def _decoded(reply):
    """A reply with its strings as text, where they are text."""
    if isinstance(reply, dict):
        return {name: _decoded(item) for name, item in reply.items()}
    if isinstance(reply, list):
        return [_decoded(item) for item in reply]
    if isinstance(reply, bytes):
        try:
            return reply.decode()
        except UnicodeDecodeError:
            return reply
    return reply
