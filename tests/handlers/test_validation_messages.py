"""The sentence that explains an invalid payload."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from dispatch.wire import commands
from handlers.validation_messages import explain, limit_details


class Inner(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    lat_deg: Annotated[float, Meta(ge=-90, lt=90)]


class Outer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    inner: Inner | None = None
    count: Annotated[int, Meta(ge=1, le=5)] = 1
    name: Annotated[str, Meta(min_length=1, max_length=3)] = "a"
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"
    method: Literal["CASH", "WALLET"] = "CASH"
    items: Annotated[list[Inner], Meta(max_length=1)] = []
    edges: Annotated[list[int], Meta(min_length=2, max_length=2)] = []
    mixed: int | str = 1
    is_open: bool = False


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ('{"count":"a"}', "`count` must be a whole number"),
        ('{"count":0}', "`count` must be at least 1"),
        ('{"count":6}', "`count` must be at most 5"),
        ('{"name":""}', "`name` must have at least 1 character"),
        ('{"name":"abcd"}', "`name` must have at most 3 characters"),
        ('{"name":7}', "`name` must be a text"),
        ('{"code":"A"}', "`code` has the wrong form"),
        ('{"method":"GOLD"}', "`method` has a value that is not allowed"),
        ('{"isOpen":1}', "`isOpen` must be true or false"),
        ('{"mixed":[]}', "`mixed` must be a whole number or a text"),
        ('{"inner":7}', "`inner` must be an object or null"),
        ('{"inner":{}}', "`inner.latDeg` is required"),
        ('{"inner":{"latDeg":90}}', "`inner.latDeg` must be below 90.0"),
        ('{"inner":{"latDeg":1,"y":2}}', "`inner.y` is not known here"),
        ('{"items":7}', "`items` must be a list"),
        ('{"items":[{"latDeg":"a"}]}', "`items[0].latDeg` must be a number"),
        ('{"items":[{"latDeg":1},{"latDeg":1}]}', "`items` must have at most 1 entry"),
        ('{"edges":[1]}', "`edges` must have at least 2 entries"),
        ("[]", "the payload must be an object"),
        ("7", "the payload must be an object"),
        ("{", "the payload is not one JSON object"),
        ("{}x", "the payload is not one JSON object"),
    ],
)
def test_a_sentence_names_the_field_and_the_rule(payload: str, sentence: str):
    """Each shape of msgspec's messages has its sentence."""
    with pytest.raises(msgspec.DecodeError) as error:
        msgspec.json.decode(payload, type=Outer)
    assert explain(error.value) == sentence


@pytest.mark.parametrize(
    ("payload", "details"),
    [
        ('{"name":"abcd"}', {"field": "name", "limit": 3, "got": 4}),
        ('{"items":[{"latDeg":1},{"latDeg":1}]}', {"field": "items", "limit": 1, "got": 2}),
        ('{"edges":[1,2,3]}', {"field": "edges", "limit": 2, "got": 3}),
        ('{"name":""}', None),
        ('{"count":6}', None),
        ('{"name":7}', None),
        ("[]", None),
    ],
)
def test_a_size_over_its_limit_is_told_both(payload: str, details: dict[str, object] | None):
    """Other faults have no limit to tell."""
    with pytest.raises(msgspec.DecodeError) as error:
        msgspec.json.decode(payload, type=Outer)
    assert limit_details(error.value, msgspec.json.decode(payload)) == details


def test_a_sentence_does_not_grow_with_the_payload():
    """It is cut at 160 characters, though a field's name may be as long as a frame."""
    with pytest.raises(msgspec.DecodeError) as error:
        msgspec.json.decode('{"%s":1}' % ("x" * 10_000), type=Outer)
    assert len(explain(error.value)) <= 160


def test_a_rule_of_a_struct_is_told_as_it_is():
    """What a struct checks of its own fields is told with the field it lies in."""
    body = b'{"orderId":"ord_1","proof":{"kind":"PIN"}}'
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=commands.CompleteDelivery)

    assert explain(error.value) == "`proof`: PIN needs `pin`"
