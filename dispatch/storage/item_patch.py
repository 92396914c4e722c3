"""Part of an item changes and the rest stays: what a patch names, as one update."""

from typing import Any

import msgspec

from ledger.dynamodb.table import Key, Update


def given_fields(patch: msgspec.Struct) -> dict[str, Any]:
    """What the patch names, under the names of the wire; a null says as little as an absence."""
    fields = msgspec.to_builtins(patch)
    return {name: value for name, value in fields.items() if value is not None}


def set_fields(key: Key, fields: dict[str, Any], condition: str | None = None) -> Update:
    """An update that sets each of `fields` and leaves the others as they are."""
    assert fields, "an update sets something"
    names = {f"#{name}": name for name in fields}
    values = {f":{name}": value for name, value in fields.items()}
    sets = ", ".join(f"#{name} = :{name}" for name in fields)
    return Update(
        key=key, expression=f"SET {sets}", condition=condition, names=names, values=values
    )
