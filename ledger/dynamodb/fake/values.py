"""DynamoDB's attribute values: validation, comparison and size."""

import decimal
from decimal import Decimal
from typing import Any

from ledger.dynamodb.fake.errors import InvalidRequest

# As the low-level client sends it: {"S": "text"}, {"N": "12"}, ...
Value = dict[str, Any]
Image = dict[str, Value]

# Source: DynamoDB limits: 400 KB per item, 2048 and 1024 bytes for keys, numbers of 38 digits
# between 1E-130 and 9.9...E+125.
ITEM_BYTES_MAX = 400 * 1024
PARTITION_KEY_BYTES_MAX = 2048
SORT_KEY_BYTES_MAX = 1024
DIGITS_MAX = 38
_EXPONENT_MAX, _EXPONENT_MIN = 125, -130
NESTING_MAX = 32

_EXACT = decimal.Context(prec=DIGITS_MAX, Emax=999, Emin=-999, traps=[decimal.Inexact])
_WIDE = decimal.Context(prec=400, Emax=9999, Emin=-9999)
_COMPARABLE_TYPES = frozenset({"S", "N", "B"})


def normalize(value: Value, depth: int = 1) -> Value:
    """The value as DynamoDB stores it.

    Errors: InvalidRequest for a type or number that cannot be stored.
    """
    if depth > NESTING_MAX:
        raise InvalidRequest("Nesting Levels have exceeded supported limits")
    if len(value) != 1:
        raise InvalidRequest("Supplied AttributeValue has more than one datatypes set")
    ((kind, inner),) = value.items()
    match kind:
        case "N":
            return {"N": normalize_number(inner)}
        case "L":
            return {"L": [normalize(each, depth + 1) for each in inner]}
        case "M":
            return {"M": {name: normalize(each, depth + 1) for name, each in inner.items()}}
        case "NULL":
            if inner is not True:
                raise InvalidRequest("Null attribute value types must have the value of true")
            return value
        case "S" | "B" | "BOOL":
            return value
        case _:
            raise InvalidRequest(f"the fake does not support attributes of type {kind}")


def normalize_number(text: str) -> str:
    """A number in its shortest spelling.

    Errors: InvalidRequest for more than 38 digits, or out of range.
    """
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and digits[0] != "0" and len(digits) <= DIGITS_MAX:
        return text
    try:
        number = _WIDE.create_decimal(text)
    except decimal.InvalidOperation as error:
        raise InvalidRequest(
            f"The parameter cannot be converted to a numeric value: {text}"
        ) from error
    return _number_text(number)


def add_or_subtract(left: Value, right: Value, sign: int) -> Value:
    """Sum or difference of two numbers.

    Errors: InvalidRequest where one is no number, or the result has more than 38 digits.
    """
    if "N" not in left or "N" not in right:
        raise InvalidRequest("An operand in the update expression has an incorrect data type")
    try:
        return {"N": normalize_number(str(int(left["N"]) + sign * int(right["N"])))}
    except ValueError:
        other = Decimal(right["N"])
        return {"N": _number_text(_WIDE.add(Decimal(left["N"]), other if sign > 0 else -other))}


def equal(left: Value | None, right: Value | None) -> bool:
    """Whether both exist, have one type and are equal; stored numbers have one spelling each."""
    return left is not None and right is not None and left == right


def compare(left: Value | None, right: Value | None) -> int | None:
    """-1, 0 or 1 for less, equal or greater; None where the values cannot be compared."""
    if left is None or right is None:
        return None
    ((kind, one),) = left.items()
    ((other_kind, other),) = right.items()
    if kind != other_kind or kind not in _COMPARABLE_TYPES:
        return None
    if kind == "N":
        one, other = Decimal(one), Decimal(other)
    return (one > other) - (one < other)


def read_key_text(image: Image, name: str, bytes_max: int) -> str:
    """Text of a key attribute.

    Errors: InvalidRequest where it is missing, empty, too long, or no string.
    """
    value = image.get(name)
    if value is None:
        raise InvalidRequest(f"One of the required keys was not given a value: {name}")
    if "S" not in value:
        raise InvalidRequest(
            f"Type mismatch for key {name} expected: S actual: {next(iter(value))}"
        )
    text: str = value["S"]
    if not text:
        raise InvalidRequest(
            f"The AttributeValue for a key attribute cannot contain an empty string: {name}"
        )
    if len(text.encode()) > bytes_max:
        raise InvalidRequest(
            f"Size of key {name} has exceeded the maximum size limit of {bytes_max} bytes"
        )
    return text


def item_bytes(image: Image) -> int:
    """Size of an item. Units: bytes. Source: DynamoDB, item sizes and formats."""
    return sum(_bytes(name) + _size(value) for name, value in image.items())


def _size(value: Value) -> int:
    ((kind, inner),) = value.items()
    match kind:
        case "S":
            return _bytes(inner)
        case "B":
            return len(inner)
        case "N":
            # Two digits a byte, and one more.
            return (len(inner) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + _size(each) for each in inner)
        case "M":
            return 3 + sum(1 + _bytes(name) + _size(each) for name, each in inner.items())
        case _:
            return 1


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _number_text(number: Decimal) -> str:
    if not number.is_finite():
        raise InvalidRequest("The parameter cannot be converted to a numeric value")
    if not number:
        return "0"
    try:
        number = _EXACT.create_decimal(number).normalize(_EXACT)
    except decimal.Inexact as error:
        raise InvalidRequest(
            "Attempting to store more than 38 significant digits in a Number"
        ) from error
    if not _EXPONENT_MIN <= number.adjusted() <= _EXPONENT_MAX:
        raise InvalidRequest("Number overflow or underflow")
    return f"{number:f}"
