"""The largest payload of a struct: no legal one is longer, and one is nearly as long."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from dispatch.wire.message_size import (
    ESCAPED_CHAR_BYTES,
    RECORD_BYTES,
    UnlimitedField,
    largest_payload_bytes,
)

Code = Annotated[str, Meta(pattern="^[a-z]+$", max_length=8)]


class Line(msgspec.Struct, rename="camel"):
    line_code: Code
    price: float


class Everything(msgspec.Struct, rename="camel"):
    note: Annotated[str, Meta(max_length=10)]
    lines: Annotated[list[Line], Meta(max_length=3)]
    kind: Literal["FOOD", "PACKAGE"]
    is_open: bool
    until: int | None
    named: Annotated[dict[Code, Code], Meta(max_length=2)]
    records: Annotated[list[Any], Meta(max_length=2)]


def test_the_largest_payload_is_computed_from_the_bounds():
    """A payload with every text, list and number at its largest has a few bytes less."""
    line = '{"lineCode":"abcdefgh","price":-1.7976931348623157e+308}'
    emoji = "\\ud83d\\ude00"
    record = '"' + "r" * (RECORD_BYTES - 2) + '"'
    raw = (
        f'{{"note":"{emoji * 10}","lines":[{line},{line},{line}],"kind":"PACKAGE","isOpen":false,'
        f'"until":-9223372036854775808.0,"named":{{"abcdefgh":"abcdefgh","bbcdefgh":"abcdefgh"}},'
        f'"records":[{record},{record}]}}'
    )
    assert len(emoji) == ESCAPED_CHAR_BYTES
    assert 0 <= largest_payload_bytes(Everything) - len(raw) <= 10


class Unbounded(msgspec.Struct):
    lines: Annotated[list[Line], Meta(max_length=3)]
    note: str


class UnboundedList(msgspec.Struct):
    lines: list[Line]


class Foreign(msgspec.Struct):
    raw: bytes


@pytest.mark.parametrize(
    ("struct", "path"),
    [
        (Unbounded, "Unbounded.note"),
        (UnboundedList, "UnboundedList.lines"),
        (Foreign, "Foreign.raw"),
    ],
)
def test_a_field_without_a_limit_is_named(struct: type, path: str):
    """Nothing on the wire may be as long as a client likes."""
    with pytest.raises(UnlimitedField, match=f"^{path}$"):
        largest_payload_bytes(struct)
