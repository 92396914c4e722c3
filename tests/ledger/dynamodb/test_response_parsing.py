"""Answers of DynamoDB are parsed to the same values as by the library's parser."""

import asyncio
import json
from typing import Any

import pytest
from aiobotocore.parsers import create_parser
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from ledger.dynamodb.response_parsing import ReadParserFactory

DYNAMO = ServiceModel(Loader().load_service_model("dynamodb", "service-2"))
READ_PARSER, LIBRARY_PARSER = ReadParserFactory().create_parser("json"), create_parser("json")

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


def parse_with_both(operation: str, raw: bytes, status: int = 200) -> tuple[Any, Any]:
    """The answer without its metadata, as our parser and the library's parse it."""
    shape = DYNAMO.operation_model(operation).output_shape
    response = {"body": raw, "status_code": status, "headers": {}, "context": {}}

    async def parse() -> list[Any]:
        return [await each.parse(response, shape) for each in (READ_PARSER, LIBRARY_PARSER)]

    ours, theirs = asyncio.run(parse())
    assert ours["ResponseMetadata"]["HTTPStatusCode"] == status
    assert theirs["ResponseMetadata"]["HTTPStatusCode"] == status
    del ours["ResponseMetadata"], theirs["ResponseMetadata"]
    return ours, theirs


@given(ITEMS, st.lists(ITEMS, max_size=3))
def test_items_are_parsed_as_by_the_library(item: dict[str, Any], more: list[dict[str, Any]]):
    """Text, numbers, booleans, nulls, bytes, and lists and maps of them come out equal."""
    bodies = {
        "GetItem": {"Item": item},
        "BatchGetItem": {"Responses": {"reeyo": [item, *more]}, "UnprocessedKeys": {}},
        "Query": {"Items": more, "Count": len(more), "LastEvaluatedKey": item},
    }
    for operation, body in bodies.items():
        ours, theirs = parse_with_both(operation, json.dumps(body).encode())
        assert ours == theirs


@pytest.mark.parametrize("raw", [b"{}", b"", b'{"Item": null}', b"no JSON", b"[", b'{"a": "B"}'])
def test_an_answer_without_an_item_has_none(raw: bytes):
    """An empty answer, a missing item, and what a proxy answers have no item in either parser."""
    ours, theirs = parse_with_both("GetItem", raw)
    assert ours.get("Item") == theirs.get("Item")


def test_writes_are_parsed_by_the_library():
    """The answer of a transaction comes out equal."""
    ours, theirs = parse_with_both("TransactWriteItems", b'{"ConsumedCapacity": [], "Strange": 1}')
    assert ours == theirs


def test_errors_are_parsed_by_the_library():
    """The answer of a failed read has the library's error code and message."""
    raw = b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow"}'
    ours, theirs = parse_with_both("GetItem", raw, status=400)
    assert ours == theirs
    assert ours["Error"] == {"Code": "ThrottlingException", "Message": "slow"}


def test_one_parser_parses_all_answers():
    """The factory creates one parser; 20,000 of the library's waited for the collector once."""
    factory = ReadParserFactory()
    assert factory.create_parser("json") is factory.create_parser("json")
