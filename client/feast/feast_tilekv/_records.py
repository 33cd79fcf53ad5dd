"""Latest values of plain feature views as records: a hash for each feature view and entity key,
with a field for each feature and one for the event's time. Knows nothing of connections."""

from datetime import timezone

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import make_tzaware
from google.protobuf.timestamp_pb2 import Timestamp

TIME_FIELD = b"_ts"
SCAN_COUNT = 1000
_GLOB = b"*?[]\\"


class RecordView:
    """A feature view whose latest values are kept."""

    def __init__(self, config, table):
        self.table = table
        self.version = config.entity_key_serialization_version
        self.prefix = f"feast:{config.project}:{table.name}:".encode()

    def keys(self, entity_keys):
        """The records of entity keys."""
        return [
            self.prefix + serialize_entity_key(key, entity_key_serialization_version=self.version)
            for key in entity_keys
        ]

    def read_commands(self, entity_keys, requested):
        """The commands that read these features, one for each entity key."""
        fields = [*(name.encode() for name in requested), TIME_FIELD]
        return [["HMGET", key, *fields] for key in self.keys(entity_keys)]

    def answers(self, replies, requested):
        """The rows that Feast expects of a read: nothing where there is no record."""
        return [self._answer(reply, requested) for reply in replies]

    def _answer(self, reply, requested):
        *values, time = reply
        if time is None:
            return None, None
        features = {}
        for name, value in zip(requested, values, strict=True):
            features[name] = Value()
            if value:
                features[name].ParseFromString(value)
        return _time_of(time).ToDatetime(tzinfo=timezone.utc), features

    def newest(self, data):
        """Rows of ``online_write_batch`` by record, the newest of each."""
        taken = {}
        for key, row in zip(self.keys([row[0] for row in data]), data, strict=True):
            time = Timestamp()
            time.FromDatetime(make_tzaware(row[2]))
            if key not in taken or taken[key][0].ToNanoseconds() <= time.ToNanoseconds():
                taken[key] = (time, row[1])
        return taken

    def time_commands(self, taken):
        """The commands that read the times of the records as they are."""
        return [["HGET", key, TIME_FIELD] for key in taken]

    def write_commands(self, taken, times, ttl_seconds):
        """The commands that write what is not older than what is there."""
        commands = []
        for (key, (time, values)), found in zip(taken.items(), times, strict=True):
            if found is not None and time.ToNanoseconds() < _time_of(found).ToNanoseconds():
                continue
            fields = [TIME_FIELD, time.SerializeToString()]
            for name, value in values.items():
                fields += [name.encode(), value.SerializeToString()]
            commands.append(["HSET", key, *fields])
            if ttl_seconds:
                commands.append(["EXPIRE", key, ttl_seconds])
        return commands

    def scan_command(self, cursor):
        """A step of the search for all records of the view."""
        pattern = b"".join(
            b"\\" + bytes([byte]) if byte in _GLOB else bytes([byte]) for byte in self.prefix
        )
        return ["SCAN", cursor, "MATCH", pattern + b"*", "COUNT", SCAN_COUNT]


def _time_of(stored):
    time = Timestamp()
    time.ParseFromString(stored)
    return time
