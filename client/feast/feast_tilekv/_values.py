"""Values of Feast's protocol buffers and Python's own. Knows nothing of stores."""

from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import PrimitiveFeastType

_FIELDS = {
    PrimitiveFeastType.INT32: ("int32_val", int),
    PrimitiveFeastType.INT64: ("int64_val", int),
    PrimitiveFeastType.FLOAT32: ("float_val", float),
    PrimitiveFeastType.FLOAT64: ("double_val", float),
    PrimitiveFeastType.STRING: ("string_val", str),
    PrimitiveFeastType.BOOL: ("bool_val", bool),
}


def to_proto(value, dtype):
    """A value of a window as a value of the feature's type; an empty one for None."""
    if value is None:
        return Value()
    if dtype in _FIELDS:
        field, kind = _FIELDS[dtype]
        return Value(**{field: kind(value)})
    return python_values_to_proto_values([value], dtype.to_value_type())[0]


def from_proto(value):
    """A feature's value as Python's own; None for an empty one."""
    if value is None or value.WhichOneof("val") in (None, "null_val"):
        return None
    found = feast_value_type_to_python_type(value)
    return int(found) if isinstance(found, bool) else found


def entity_text(value):
    """The value of a join key as the part of an entity that it is."""
    found = getattr(value, value.WhichOneof("val"))
    if isinstance(found, (bytes, str)):
        return found
    return str(found)
