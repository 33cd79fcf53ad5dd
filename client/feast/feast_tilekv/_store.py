"""The online store: Feast's calls as requests to TileKV. What a feature view becomes there stands
in _records.py and _windows.py."""

from datetime import datetime, timezone
from typing import Literal, Optional

import tilekv
from feast import utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.repo_config import FeastConfigBaseModel
from pydantic import StrictStr

from ._records import RecordView
from ._windows import WindowView, is_aggregated

WRITE_ROWS = 10_000


class TileKVOnlineStoreConfig(FeastConfigBaseModel):
    """``online_store`` in ``feature_store.yaml``."""

    type: Literal["feast_tilekv.TileKVOnlineStore"] = "feast_tilekv.TileKVOnlineStore"
    """Online store type selector"""

    address: StrictStr = "127.0.0.1:8453"
    """Host and port of the server"""

    username: Optional[StrictStr] = None
    """None is the server's default user"""

    password: Optional[StrictStr] = None
    """None where the server asks for none"""

    connections: int = 1
    """How many connections each process opens"""

    request_timeout_seconds: float = 10.0
    """How long one request may wait for its answer"""

    edge: Literal["closed", "live"] = "live"
    """Where windows end: ``live`` shows an event in the next read, ``closed`` counts only tiles
    that have ended"""

    key_ttl_seconds: Optional[int] = None
    """When the latest values of an entity expire after their last write; None is never"""

    skip_dedup: bool = False
    """Whether latest values are written without looking whether newer ones are there"""


class TileKVOnlineStore(OnlineStore):
    """Feature views with latest values are records, stream feature views with aggregations are
    views whose windows are merged when they are read. A request for features of any number of
    feature views is one round trip."""

    def __init__(self):
        self._client = None
        self._async_client = None
        self._window_views = {}

    @property
    def async_supported(self):
        return SupportedAsyncMethods(read=True, write=True)

    # Reads

    def online_read(self, config, table, entity_keys, requested_features=None):
        asked = _Asked(self, config, [(table, entity_keys, requested_features)])
        return asked.answers(self._sync(config).gather(asked.reads, asked.commands, again=True))[0]

    async def online_read_async(self, config, table, entity_keys, requested_features=None):
        asked = _Asked(self, config, [(table, entity_keys, requested_features)])
        client = self._aio(config)
        return asked.answers(await client.gather(asked.reads, asked.commands, again=True))[0]

    def _read_features_per_fv(
        self,
        config,
        grouped_refs,
        join_key_values,
        entity_name_to_join_key_map,
        online_features_response,
        full_feature_names,
        include_feature_view_version_metadata,
    ):
        groups = _grouped(grouped_refs, join_key_values, entity_name_to_join_key_map)
        asked = _Asked(self, config, [group[:3] for group in groups])
        found = self._sync(config).gather(asked.reads, asked.commands, again=True)
        options = (full_feature_names, include_feature_view_version_metadata)
        _populate(groups, asked.answers(found), online_features_response, options)

    async def _read_features_per_fv_async(
        self,
        config,
        grouped_refs,
        join_key_values,
        entity_name_to_join_key_map,
        online_features_response,
        full_feature_names,
        include_feature_view_version_metadata,
    ):
        groups = _grouped(grouped_refs, join_key_values, entity_name_to_join_key_map)
        asked = _Asked(self, config, [group[:3] for group in groups])
        found = await self._aio(config).gather(asked.reads, asked.commands, again=True)
        options = (full_feature_names, include_feature_view_version_metadata)
        _populate(groups, asked.answers(found), online_features_response, options)

    # Writes

    def online_write_batch(self, config, table, data, progress):
        client = self._sync(config)
        for start in range(0, len(data), WRITE_ROWS):
            rows = data[start : start + WRITE_ROWS]
            if is_aggregated(table):
                view = self.window_view(config.project, table)
                client.madd(view.name, view.rows(rows))
            else:
                view = RecordView(config, table)
                taken = view.newest(rows)
                times = [None] * len(taken)
                if not config.online_store.skip_dedup:
                    times = client.commands(view.time_commands(taken), again=True)
                ttl = config.online_store.key_ttl_seconds
                # A record that is written twice is the same.
                client.commands(view.write_commands(taken, times, ttl), again=True)
            if progress:
                progress(len(rows))

    async def online_write_batch_async(self, config, table, data, progress):
        client = self._aio(config)
        for start in range(0, len(data), WRITE_ROWS):
            rows = data[start : start + WRITE_ROWS]
            if is_aggregated(table):
                view = self.window_view(config.project, table)
                await client.madd(view.name, view.rows(rows))
            else:
                view = RecordView(config, table)
                taken = view.newest(rows)
                times = [None] * len(taken)
                if not config.online_store.skip_dedup:
                    times = await client.commands(view.time_commands(taken), again=True)
                ttl = config.online_store.key_ttl_seconds
                await client.commands(view.write_commands(taken, times, ttl), again=True)
            if progress:
                progress(len(rows))

    # What there is

    def update(
        self,
        config,
        tables_to_delete,
        tables_to_keep,
        entities_to_delete,
        entities_to_keep,
        partial,
    ):
        client = self._sync(config)
        for table in tables_to_keep:
            if is_aggregated(table):
                self._window_views.pop((config.project, table.name), None)
                _make_view(client, self.window_view(config.project, table))
        for table in tables_to_delete:
            self._delete(config, table)

    def teardown(self, config, tables, entities):
        for table in tables:
            self._delete(config, table)
        # Feast does not name its stream feature views here.
        client = self._sync(config)
        for view in client.views():
            if view.startswith(f"{config.project}."):
                client.drop_view(view)
        self._window_views.clear()
        client.close()
        self._client = None

    async def close(self):
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    def _delete(self, config, table):
        client = self._sync(config)
        if is_aggregated(table):
            self._window_views.pop((config.project, table.name), None)
            try:
                client.drop_view(f"{config.project}.{table.name}")
            except tilekv.NoViewError:
                pass
            return
        view, cursor = RecordView(config, table), b"0"
        while True:
            cursor, keys = client.commands([view.scan_command(cursor)], again=True)[0]
            if keys:
                client.commands([["DEL", *keys]], again=True)
            if cursor == b"0":
                return

    def window_view(self, project, table):
        """The view of a stream feature view."""
        known = self._window_views.get((project, table.name))
        if known is None:
            known = self._window_views[project, table.name] = WindowView(project, table)
        return known

    def _sync(self, config):
        if self._client is None:
            self._client = tilekv.Client(**_client_options(config.online_store))
        return self._client

    def _aio(self, config):
        if self._async_client is None:
            self._async_client = tilekv.AsyncClient(**_client_options(config.online_store))
        return self._async_client


def write_events(store, feature_view, frame, *, producer=None, after=None):
    """Writes events of a stream feature view as they are: Feast's own way in wants a column for
    each feature, and the features of such a view are windows that do not exist before they are
    read.

    Args:
        store: The ``FeatureStore``.
        feature_view: The name of a stream feature view with aggregations.
        frame: Join keys, the timestamp field and the aggregated columns, as
            ``tilekv.Client.madd`` takes them: pandas, Arrow, Polars, a mapping of columns ..
        producer: As ``after``, see ``tilekv.Client.add``: under a sequence, a write counts once.

    Returns:
        How many events were applied; the rest are older than the feature view's ttl.
    """
    table = store.get_stream_feature_view(feature_view)
    online_store = store.provider.online_store
    if not isinstance(online_store, TileKVOnlineStore):
        raise TypeError(f"the online store is a {type(online_store).__name__}")
    if not is_aggregated(table):
        raise ValueError(f"{feature_view} has no aggregations: use write_to_online_store")
    view = online_store.window_view(store.project, table)
    client = online_store._sync(store.config)
    return client.madd(view.name, frame, **view.events(frame), producer=producer, after=after)


class _Asked:
    """What is read of several feature views, as reads and commands of one round trip."""

    def __init__(self, store, config, groups):
        self.reads, self.commands = [], []
        self._parts = []
        for table, entity_keys, requested in groups:
            requested = list(requested or (field.name for field in table.features))
            if is_aggregated(table):
                view = store.window_view(config.project, table)
                self.reads.append(view.read(entity_keys, requested, config.online_store.edge))
                self._parts.append((view, requested, None))
            else:
                view = RecordView(config, table)
                commands = view.read_commands(entity_keys, requested)
                self.commands += commands
                self._parts.append((view, requested, len(commands)))

    def answers(self, found):
        """The rows of each feature view."""
        results, replies = iter(found[0]), iter(found[1])
        now = datetime.now(timezone.utc)
        answers = []
        for view, requested, count in self._parts:
            if count is None:
                answers.append(view.answers(next(results), requested, now))
            else:
                taken = [next(replies) for _ in range(count)]
                answers.append(view.answers(taken, requested))
        return answers


def _grouped(grouped_refs, join_key_values, entity_name_to_join_key_map):
    groups = []
    for table, requested in grouped_refs:
        values, indexes, length = utils._get_unique_entities(
            table, join_key_values, entity_name_to_join_key_map
        )
        entity_keys = utils._get_entity_key_protos(values)
        groups.append((table, entity_keys, requested, indexes, length))
    return groups


def _populate(groups, answers, response, options):
    full_feature_names, with_metadata = options
    for (table, _, requested, indexes, length), rows in zip(groups, answers, strict=True):
        utils._populate_response_from_feature_data(
            requested, rows, indexes, response, full_feature_names, table, length, with_metadata
        )


def _make_view(client, view):
    """Creates a view, or adds what an existing one lacks."""
    try:
        definition = client.view_info(view.name).definition
    except tilekv.NoViewError:
        client.create_view(
            view.name,
            tile=view.tile_ms,
            columns=view.columns,
            features=view.features,
            retention=view.retention,
            keys=view.keys,
        )
        return
    columns = [text.split(":")[0] for text in definition["columns"]]
    features = [text.split("=")[0] for text in definition["features"]]
    client.alter_view(
        view.name,
        add_columns={name: kind for name, kind in view.columns.items() if name not in columns},
        add_features={name: text for name, text in view.features.items() if name not in features},
        retention="none" if view.retention is None else view.retention,
    )


def _client_options(config):
    return {
        "address": config.address,
        "username": config.username,
        "password": config.password,
        "client_name": "feast-tilekv",
        "connections": config.connections,
        "request_timeout": config.request_timeout_seconds,
    }
