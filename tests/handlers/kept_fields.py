"""Distinctive values for every field of a body or command, and the search for what is stored."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import inspect

from ledger.dynamodb.attribute_values import from_item
from tests.handlers.http_api import ApiClient
from tests.wire_samples import Path, leaf_types, replaced, sample_of, value_at

Body = dict[str, Any]
# Records that only repeat what happened for a while: an event on its way, the answer to a repeat.
_PASSING = ("OUTBOX#", "IDEMPOTENCY#")
# Fields that name what was there before: the records that they name must still have them.
_REFERENCES = frozenset({"orderId", "offerId", "paymentId", "payoutId", "reference"})
# Smaller numbers stand in many records, so that the name must fit as well.
_COMMON_BELOW = 1_000
# Stored names of fields that are called otherwise on the wire.
STORED_NAMES = {
    "orderType": ("orderType", "service"),
    "userType": ("userType", "ownerType"),
    "paymentMethod": ("method",),
    "status": ("status", "payoutState"),
    "charge": ("account",),
    "type": ("paymentState", "payoutState"),
}


class Stored(NamedTuple):
    """One attribute of a stored item, or one value of a Redis key."""

    item: str
    name: str
    value: object


def distinctive_body(struct: type[msgspec.Struct], overrides: dict[str, object]) -> Body:
    """A payload with every field of a struct, each with a value of its own where it may have one.

    `overrides` are the values that the scenario needs, by dotted path.
    """
    body = sample_of(struct)
    for number, (path, kind) in enumerate(leaf_types(struct)):
        dotted = dotted_path(path)
        usual = "cmd_kept" if dotted == "commandId" else value_at(body, path)
        value = overrides.get(dotted, _distinctive(kind, number, usual))
        body = cast("Body", replaced(body, path, value))
    whole = {name: overrides[name] for name in body.keys() & overrides.keys()}
    return {**body, **whole}


def dotted_path(path: Path) -> str:
    """A path as the declarations below write it, without the numbers of list entries."""
    return ".".join(step for step in path if isinstance(step, str))


def _distinctive(kind: inspect.Type, number: int, sample: object) -> object:
    if isinstance(kind, inspect.StrType) and kind.pattern is None:
        return f"kept {number}".ljust(kind.min_length or 0, "x")
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _number(kind, number)
    return sample


def _number(kind: inspect.IntType | inspect.FloatType, number: int) -> float:
    low, high = kind.ge or 0, kind.le if kind.le is not None else 10**9
    # Small bounds leave no room for a number that nothing else has.
    return min(high, max(low, 0) + 4_000 + 37 * number) if high > 4_000 else min(high, low + 3)


async def stored_values(api: ApiClient) -> set[Stored]:
    """Every attribute of every item that lasts, and the riders' last positions in Redis."""
    found: set[Stored] = set()
    start: dict[str, Any] = {}
    while True:
        page = await api.table.client.scan(TableName=api.table.name, ConsistentRead=True, **start)
        for image in page["Items"]:
            item = from_item(image)
            where = f"{item['PK']}/{item['SK']}"
            if str(item["PK"]).startswith(_PASSING):
                # Only that it is there: what it holds passes.
                found.add(Stored(where, "", ""))
            else:
                found.update(_flatten(where, "", item))
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    redis = api.redis.commands
    for key in await redis.keys("rider:*"):
        if await redis.type(key) == b"string":
            found.update(_flatten(key.decode(), "", (await redis.get(key)).decode()))
    return found


def _flatten(item: str, name: str, value: object) -> Iterator[Stored]:
    if isinstance(value, dict):
        for key, each in cast("dict[str, object]", value).items():
            yield from _flatten(item, key, each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in cast("list[object]", value):
            yield from _flatten(item, name, each)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        yield from _flatten(item, name, _decoded(value))
    else:
        yield Stored(item, name, value)


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return f"text {text}"


def lost_fields(
    struct: type[msgspec.Struct], body: Body, before: set[Stored], after: set[Stored]
) -> set[str]:
    """The fields of a body that no stored item has got."""
    new = after - before
    return {
        dotted_path(path)
        for path, kind in leaf_types(struct)
        if not _is_found(path, kind, value_at(body, path), _searched(path, new, after))
    }


def _searched(path: Path, new: set[Stored], after: set[Stored]) -> set[Stored]:
    return after if path[-1] in _REFERENCES else new


def _is_found(path: Path, kind: inspect.Type, value: object, new: set[Stored]) -> bool:
    name = next(step for step in reversed(path) if isinstance(step, str))
    is_common = isinstance(value, int | float) and abs(value) < _COMMON_BELOW
    if is_common or isinstance(kind, inspect.BoolType | inspect.LiteralType):
        names = STORED_NAMES.get(name, (name,))
        return any(
            (each.name in names and _is_same(value, each.value)) or _is_in_key(value, each)
            for each in new
        )
    if isinstance(value, str):
        # In the key of an item, or inside a text of its own.
        return any(_has_word(value, text) for each in new for text in (each.item, each.value))
    return any(_is_same(value, each.value) or value == _negated(each.value) for each in new)


def _is_in_key(value: object, stored: Stored) -> bool:
    return isinstance(value, str) and _has_word(value, stored.item)


def _is_same(value: object, stored: object) -> bool:
    if isinstance(value, bool) or isinstance(stored, bool):
        return value is stored
    return stored == value


def _negated(stored: object) -> object:
    """The amount of a debit as it was asked for."""
    return -stored if isinstance(stored, int | float) and not isinstance(stored, bool) else None


def _has_word(value: str, text: object) -> bool:
    if not isinstance(text, str):
        return False
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None
