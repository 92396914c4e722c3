"""Whole numbers in any spelling are integers, and unknown fields of clients are ignored."""

from functools import partial

import msgspec
import pytest

from dispatch.wire import decoding
from dispatch.wire.decoding import unknown_fields
from dispatch.wire.http.base import OperatorRequest
from dispatch.wire.phones import PhoneNumbers, encode_phone
from tests.wire_samples import (
    Path,
    command_structs,
    integer_paths,
    object_paths,
    replaced,
    request_structs,
    sample_of,
    value_at,
)

PHONES = PhoneNumbers("CM")
decode_json = partial(decoding.decode_json, decode_hook=PHONES.decode)
convert = partial(decoding.convert, decode_hook=PHONES.decode)
encode = partial(msgspec.json.encode, enc_hook=encode_phone)

STRUCTS = [*command_structs(), *request_structs()]
INTEGERS = [(struct, path) for struct in STRUCTS for path in integer_paths(struct)]
OBJECTS = [(struct, path) for struct in STRUCTS for path in object_paths(struct)]
OF_OPERATORS = [each for each in OBJECTS if issubclass(each[0], OperatorRequest)]
OF_CLIENTS = [each for each in OBJECTS if each not in OF_OPERATORS]


def json_with(struct: type[msgspec.Struct], path: Path, number: str) -> bytes:
    """A payload of a struct whose field at `path` is written as `number`."""
    marked = msgspec.json.encode(replaced(sample_of(struct), path, "<here>"))
    return marked.replace(b'"<here>"', number.encode())


@pytest.mark.parametrize("struct", STRUCTS)
def test_a_sample_is_valid(struct: type[msgspec.Struct]):
    """Every struct has integers or objects to try below, in a payload that it takes."""
    assert isinstance(decode_json(msgspec.json.encode(sample_of(struct)), struct), struct)


@pytest.mark.parametrize(("struct", "path"), INTEGERS)
def test_an_integer_may_be_written_with_a_zero_fraction(struct: type[msgspec.Struct], path: Path):
    """`7.0` and `0.7e1` decode as `7` does, as text and as parsed JSON."""
    number = value_at(sample_of(struct), path)
    plain = decode_json(json_with(struct, path, f"{number}"), struct)
    for spelling in (f"{number}.0", f"{number}.000", f"{number / 10!r}e1"):
        raw = json_with(struct, path, spelling)
        assert encode(decode_json(raw, struct)) == encode(plain)
        assert encode(convert(msgspec.json.decode(raw), struct)) == encode(plain)


@pytest.mark.parametrize(("struct", "path"), INTEGERS)
@pytest.mark.parametrize("spelling", ["1.5", '"1"', "true", "1e400", "1e30", "NaN", "[1]", "{}"])
def test_nothing_else_is_an_integer(struct: type[msgspec.Struct], path: Path, spelling: str):
    """A fraction, a text, a boolean and a number out of range are refused in every field."""
    with pytest.raises(msgspec.DecodeError):
        decode_json(json_with(struct, path, spelling), struct)


@pytest.mark.parametrize(("struct", "path"), OF_OPERATORS)
def test_an_unknown_field_of_an_operator_is_refused(struct: type[msgspec.Struct], path: Path):
    """On every level of the body."""
    sample = sample_of(struct)
    payload = replaced(sample, path, {**value_at(sample, path), "ofTomorrow": 1})
    with pytest.raises(msgspec.ValidationError, match="unknown field `ofTomorrow`"):
        convert(payload, struct)


@pytest.mark.parametrize(("struct", "path"), OF_CLIENTS)
def test_an_unknown_field_of_a_client_is_ignored(struct: type[msgspec.Struct], path: Path):
    """On every level of the payload; its path is named for the developer."""
    sample = sample_of(struct)
    payload = replaced(sample, path, {**value_at(sample, path), "ofTomorrow": {"a": [1]}})
    decoded = convert(payload, struct)
    assert decoded == convert(sample, struct)
    [named] = unknown_fields(payload, decoded)
    assert named.endswith("ofTomorrow")


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"orderId": "ord_1", "order_id": "ord_2"}, ["order_id"]),
        ({"orderId": "ord_1", **{f"f{n}": n for n in range(30)}}, [f"f{n}" for n in range(10)]),
        ({"orderId": "ord_1", "x" * 500: 1}, ["x" * 80]),
    ],
)
def test_unknown_fields_are_named_briefly(payload: dict[str, object], named: list[str]):
    """At most ten are named, each in at most eighty characters."""
    struct = command_structs()[0]
    assert unknown_fields(payload, convert(payload, struct)) == named


def test_deep_nesting_is_not_followed():
    """A payload that is nested deeper than any field is refused or ignored as it is."""
    deep: object = 1.0
    for _ in range(900):
        deep = [deep]
    with pytest.raises(msgspec.ValidationError):
        convert({"orderId": deep}, command_structs()[0])
    decoded = convert({"orderId": "ord_1", "deep": deep}, command_structs()[0])
    assert decoded == convert({"orderId": "ord_1"}, command_structs()[0])
