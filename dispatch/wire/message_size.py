"""Size of the largest JSON payload that a struct of the wire admits, from its fields' bounds.

Units: bytes. What a client may add, spaces and unknown fields, is not part of it.
"""

from msgspec import inspect

from dispatch.wire.phones import WRITTEN_CHARS_MAX

# Bytes of one character where a client escapes all it can: a character outside of the Basic
# Multilingual Plane is written as two escapes of six. Source: RFC 8259 section 7.
ESCAPED_CHAR_BYTES = 12
# Bytes of one character where it is not escaped. Source: RFC 3629, UTF-8.
UTF8_CHAR_BYTES = 4
# Longest shortest form of a double, `-1.7976931348623157e+308`, and of a 64-bit integer with a
# fraction of zero.
NUMBER_BYTES = 24
# A record of a list whose entries are decoded one by one, with the fields of phones' libraries that
# the server ignores. Source: chosen; a stored fix of such a library has 300 to 500 bytes.
RECORD_BYTES = 512


class UnlimitedField(Exception):
    """A text or list of the wire has no limit; its path is named."""


def largest_payload_bytes(kind: type, char_bytes: int = ESCAPED_CHAR_BYTES) -> int:
    """The largest payload of a struct.

    Errors: UnlimitedField.
    """
    return _size(inspect.type_info(kind), char_bytes, kind.__name__)


def _size(kind: inspect.Type, char_bytes: int, path: str) -> int:
    if isinstance(kind, inspect.Metadata):
        return _size(kind.type, char_bytes, path)
    if isinstance(kind, inspect.UnionType):
        return max(_size(each, char_bytes, path) for each in kind.types)
    if isinstance(kind, inspect.StructType):
        fields = (
            len(f'"{each.encode_name}":,') + _size(each.type, char_bytes, f"{path}.{each.name}")
            for each in kind.fields
        )
        return len("{}") + sum(fields)
    if isinstance(kind, inspect.ListType):
        count = _bound(kind.max_length, path)
        return len("[]") + count * (len(",") + _size(kind.item_type, char_bytes, f"{path}[]"))
    if isinstance(kind, inspect.DictType):
        count = _bound(kind.max_length, path)
        key = _size(kind.key_type, char_bytes, f"{path}[]")
        return len("{}") + count * (len(":,") + key + _size(kind.value_type, char_bytes, path))
    return _leaf_size(kind, char_bytes, path)


def _leaf_size(kind: inspect.Type, char_bytes: int, path: str) -> int:
    if isinstance(kind, inspect.StrType):
        # Every pattern of the wire admits ASCII only, which needs no escapes.
        per_char = char_bytes if kind.pattern is None else 1
        return len('""') + _bound(kind.max_length, path) * per_char
    if isinstance(kind, inspect.CustomType):
        # Texts with a form of their own are phone numbers.
        return len('""') + WRITTEN_CHARS_MAX * char_bytes
    if isinstance(kind, inspect.LiteralType):
        return max(len(f'"{value}"') for value in kind.values)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return NUMBER_BYTES
    if isinstance(kind, inspect.BoolType | inspect.NoneType):
        return len("false")
    if isinstance(kind, inspect.AnyType):
        return RECORD_BYTES
    raise UnlimitedField(path)


def _bound(bound: int | None, path: str) -> int:
    if bound is None:
        raise UnlimitedField(path)
    return bound
