"""Jobs and producers: writes that are more than one call. See ``_writers.pyi`` for the types."""

from __future__ import annotations

import json

import numpy as np

from . import _frames
from ._errors import InputError, TileKVError


class _JobCalls:
    def __init__(self, core, begin, allow_empty, seal):
        self._core, self._begin = core, begin
        self._allow_empty, self._seal = allow_empty, seal
        self._raw = None

    @property
    def id(self):
        """The server's id of the job; None before it has begun."""
        return self._raw and self._raw.id

    def begin(self):
        """Begins the job; ``with`` does it for you."""

        def begun(raw):
            self._raw = raw
            return self

        return self._core.job(*self._begin, begun)

    def write(self, frame, *, entity="entity", time="time", columns=None):
        """Hands over rows; waits only while many are under way.

        Args:
            frame: As ``entity``, ``time`` and ``columns``, see :meth:`Client.madd`.

        Returns:
            How many rows and tiles were handed over so far.

        Raises:
            BadValueError: A row of this frame, or of one before it, is refused.
            NoJobError: The job was aborted, or the server has restarted.
        """
        return self._open().put(*_frames.rows_of(frame, entity, time, columns))

    def write_tiles(self, tiles):
        """Hands over whole tiles: ``(entity, start, {feature: partial})`` each."""
        given = []
        for entity, start, partials in tiles:
            texts = [(name, json_text(item)) for name, item in partials.items()]
            given.append((_frames.entity_bytes(entity), _frames.milliseconds(start), texts))
        return self._open().put_tiles(given)

    def commit(self, rows=None):
        """Publishes the job; ``with`` does it for you.

        Args:
            rows: How many rows and tiles the job must have taken; None is as many as were
                handed over.

        Returns:
            How many were handed over.

        Raises:
            EmptyJobError: The job took no row, or fewer than the view demands. It stays open.
            RowCountError: It took another number of rows. It stays open.
        """
        return self._open().commit(rows, self._allow_empty, self._seal)

    def abort(self):
        """Gives the job up: the server forgets it and its rows."""
        return self._open().abort()

    def _open(self):
        if self._raw is None:
            raise InputError("the job has not begun: use it in a with block, or call begin()")
        return self._raw


class Job(_JobCalls):
    """A job, see :meth:`Client.job`."""

    def __enter__(self):
        return self.begin()

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.commit()
        except BaseException:
            kind = BaseException
            raise
        finally:
            if kind is not None:
                self._forget()

    def _forget(self):
        try:
            self.abort()
        except TileKVError:
            # What ended the block is what the caller is told; the server's time-out ends the job.
            pass


class AsyncJob(_JobCalls):
    """A job, see :meth:`AsyncClient.job`. Its calls are awaited."""

    async def __aenter__(self):
        return await self.begin()

    async def __aexit__(self, kind, *_):
        try:
            if kind is None:
                await self.commit()
        except BaseException:
            kind = BaseException
            raise
        finally:
            if kind is not None:
                await self._forget()

    async def _forget(self):
        try:
            await self.abort()
        except TileKVError:
            # As in Job: the server's time-out ends the job.
            pass


class _ProducerCalls:
    def __init__(self, raw):
        self._raw = raw

    def send(self, sequence, frame, *, entity="entity", time="time", columns=None):
        """Hands over rows under a sequence; waits only while many are under way.

        Args:
            sequence: Grows from call to call, such as the offset of a topic's partition.
            frame: As ``entity``, ``time`` and ``columns``, see :meth:`Client.madd`.

        Returns:
            False where the sequence had been applied before: nothing was sent.

        Raises:
            OutOfOrderError: Another writer uses the id. ``last`` is what the server has.
            BadValueError: A row of this call, or of one before it, is refused: nothing from
                that sequence on was applied.
        """
        return self._raw.send(sequence, *_frames.rows_of(frame, entity, time, columns))

    def flush(self):
        """Waits until everything is acknowledged; gives the last sequence that is applied."""
        return self._raw.flush()

    def last(self):
        """The last sequence known to be applied, durable with its rows; None before the first."""
        return self._raw.last()


class Producer(_ProducerCalls):
    """An ordered writer of one view whose rows count exactly once. Each write carries the
    producer's id and a sequence that grows; what is lost on the way is sent again, in order.
    A program that starts again hands over the same writes again, or goes on behind
    :meth:`last`. ``with`` flushes where the block ends."""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.flush()


class AsyncProducer(_ProducerCalls):
    """As :class:`Producer`; its calls are awaited."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, *_):
        if kind is None:
            await self.flush()


def json_text(partial):
    """A partial as the JSON that the server reads."""
    return json.dumps(_plain(partial))


def _plain(partial):
    """NumPy's scalars and arrays as Python's own, which JSON can write."""
    if isinstance(partial, dict):
        return {name: _plain(item) for name, item in partial.items()}
    if isinstance(partial, (list, tuple)):
        return [_plain(item) for item in partial]
    return partial.tolist() if isinstance(partial, (np.generic, np.ndarray)) else partial
