"""That answers of DynamoDB mean the same, read our way and the library's."""

import json
from typing import Any

import pytest
from aiobotocore.parsers import create_parser
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from ledger.dynamodb.response_parsing import PlainJsonParsers

DYNAMO = ServiceModel(Loader().load_service_model("dynamodb", "service-2"))
PLAIN_PARSER, LIBRARY_PARSER = PlainJsonParsers().create_parser("json"), create_parser("json")

VALUES = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, st.text()),
        st.builds(lambda number: {"N": str(number)}, st.integers()),
        st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
        st.just({"NULL": True}),
        st.just({"B": "AQI="}),
    ),
    lambda inner: st.one_of(
        st.builds(lambda values: {"L": values}, st.lists(inner, max_size=3)),
        st.builds(lambda values: {"M": values}, st.dictionaries(st.text(), inner, max_size=3)),
    ),
    max_leaves=8,
)
ITEMS = st.dictionaries(st.text(min_size=1), VALUES, max_size=4)


def parse_with_both(operation: str, raw: bytes) -> tuple[Any, Any]:
    shape = DYNAMO.operation_model(operation).output_shape
    return PLAIN_PARSER._handle_json_body(raw, shape), LIBRARY_PARSER._handle_json_body(raw, shape)


@given(ITEMS, st.lists(ITEMS, max_size=3))
def test_items_are_read_as_the_library_reads_them(item: dict[str, Any], more: list[dict[str, Any]]):
    """Whatever is kept: text, numbers, flags, nothing, bytes, lists and maps of them."""
    bodies = {
        "GetItem": {"Item": item},
        "BatchGetItem": {"Responses": {"reeyo": [item, *more]}, "UnprocessedKeys": {}},
        "Query": {"Items": more, "Count": len(more), "LastEvaluatedKey": item},
        "TransactGetItems": {"Responses": [{"Item": item}, {}]},
    }
    for operation, body in bodies.items():
        ours, theirs = parse_with_both(operation, json.dumps(body).encode())
        assert ours == theirs


@pytest.mark.parametrize("raw", [b"{}", b"", b'{"Item": null}', b"no JSON", b"[", b'{"a": "B"}'])
def test_what_is_no_item_is_left_to_the_library(raw: bytes):
    """An empty answer, nothing found, and what a proxy has put in its place."""
    ours, theirs = parse_with_both("GetItem", raw)
    assert ours.get("Item") == theirs.get("Item")


def test_writes_are_left_to_the_library():
    """Their answers are small, and say why they failed."""
    raw = b'{"ConsumedCapacity": [], "Strange": 1}'
    ours, theirs = parse_with_both("TransactWriteItems", raw)
    assert ours == theirs


def test_one_parser_reads_all_answers():
    """Twenty thousand of them waited for the collector, and the server seemed to grow."""
    bodies = PlainJsonParsers()
    assert bodies.create_parser("json") is bodies.create_parser("json")
