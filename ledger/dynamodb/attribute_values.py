"""Encoding of Python values as DynamoDB's attribute values and back, without Decimal."""

import math
from collections.abc import Callable, Mapping
from typing import Any

# {"S": "text"}, {"N": "12"}, ... as the low-level client takes and returns it.
AttributeValue = dict[str, Any]

# Source: DynamoDB, data types: a number's magnitude is at least 1E-130.
MAGNITUDE_MIN = 1e-130


def to_attribute(value: Any) -> AttributeValue:
    """Encode one value; integers stay exact.

    Errors: TypeError for a type that DynamoDB cannot store, ValueError for NaN and infinity.
    """
    encode = _ENCODERS.get(type(value))  # pyright: ignore[reportUnknownArgumentType]
    if encode is not None:
        return encode(value)
    # String enumerations are stored as strings.
    if isinstance(value, str):
        return {"S": str.__str__(value)}
    raise TypeError(f"DynamoDB cannot store a {type(value).__name__}")


def to_item(item: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Encode an item; attributes that are None at the top are left out."""
    return {name: to_attribute(value) for name, value in item.items() if value is not None}


def from_attribute(attribute: AttributeValue) -> Any:
    """Decode one value.

    DynamoDB stores no trailing zeros, so a float without a fraction is decoded as an integer.

    Errors: ValueError for the set types, which are never written here.
    """
    ((kind, value),) = attribute.items()
    decode = _DECODERS.get(kind)
    if decode is None:
        raise ValueError(f"an attribute of type {kind} cannot be decoded")
    return decode(value)


def from_item(item: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Decode an item."""
    return {name: from_attribute(value) for name, value in item.items()}


def _encode_float(value: float) -> AttributeValue:
    if not math.isfinite(value):
        raise ValueError(f"DynamoDB cannot store {value}")
    if abs(value) < MAGNITUDE_MIN:
        # Too small to mean anything here, and DynamoDB would refuse the whole write.
        return {"N": "0"}
    return {"N": repr(value)}


def _encode_list(values: list[Any] | tuple[Any, ...]) -> AttributeValue:
    return {"L": [to_attribute(value) for value in values]}


def _encode_map(values: dict[str, Any]) -> AttributeValue:
    return {"M": {name: to_attribute(value) for name, value in values.items()}}


def _decode_number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


_ENCODERS: dict[type, Callable[[Any], AttributeValue]] = {
    str: lambda value: {"S": value},
    int: lambda value: {"N": str(value)},
    bool: lambda value: {"BOOL": value},
    float: _encode_float,
    bytes: lambda value: {"B": value},
    type(None): lambda _: {"NULL": True},
    list: _encode_list,
    tuple: _encode_list,
    dict: _encode_map,
}

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "S": str,
    "N": _decode_number,
    "BOOL": bool,
    "B": bytes,
    "NULL": lambda _: None,
    "L": lambda values: [from_attribute(value) for value in values],
    "M": from_item,
}
