"""Partial updates of DynamoDB items: the fields of a patch as one update expression."""

from typing import Any

import msgspec

from dispatch.wire.phones import encode_phone
from ledger.dynamodb.table import Key, Update


def given_fields(patch: msgspec.Struct) -> dict[str, Any]:
    """The fields that a patch sets, under their wire names; null means not set."""
    fields = msgspec.to_builtins(patch, enc_hook=encode_phone)
    return {name: value for name, value in fields.items() if value is not None}


def set_fields(key: Key, fields: dict[str, Any], condition: str | None = None) -> Update:
    """An update that sets each of `fields` and leaves the others unchanged."""
    assert fields, "an update sets at least one field"
    names = {f"#{name}": name for name in fields}
    values = {f":{name}": value for name, value in fields.items()}
    sets = ", ".join(f"#{name} = :{name}" for name in fields)
    return Update(
        key=key, expression=f"SET {sets}", condition=condition, names=names, values=values
    )
