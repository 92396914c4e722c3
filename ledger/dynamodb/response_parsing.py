"""DynamoDB's answers to reads, taken as the JSON that they are."""

from typing import Any

import orjson
from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

# What reads answer with. Only bytes in them are not as JSON has them.
# Source: DynamoDB API, the Output shapes of these operations.
_READ_OUTPUTS = frozenset(
    {"GetItemOutput", "BatchGetItemOutput", "QueryOutput", "TransactGetItemsOutput"}
)
_BINARY_MARKERS = (b'"B":', b'"BS":')


class PlainJsonParsers(AioResponseParserFactory):
    """Makes parsers for a client of DynamoDB and nothing else.

    The library walks through an answer value by value beside its description of the service.
    Source: profile of 5,000 connecting apps, 2026-11-21: 19 % of the server's CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parser: AioJSONParser | None = None

    def create_parser(self, protocol_name: str) -> AioJSONParser:
        """A parser; the same for every answer, of which it remembers nothing.

        The library makes a new one for each, with another inside that knows it: twenty thousand
        of them wait for the collector, whose thresholds are high. Source: measured, 15 MiB.
        """
        assert protocol_name == "json", "DynamoDB speaks JSON"
        if self._parser is None:
            self._parser = _PlainJsonParser(**self._defaults)
        return self._parser


class _PlainJsonParser(AioJSONParser):
    def _handle_json_body(self, raw_body: bytes, shape: Any) -> Any:
        if shape.name not in _READ_OUTPUTS or any(kind in raw_body for kind in _BINARY_MARKERS):
            return super()._handle_json_body(raw_body, shape)
        try:
            body = orjson.loads(raw_body)
        except orjson.JSONDecodeError:
            # The library knows what to make of it.
            return super()._handle_json_body(raw_body, shape)
        # The library leaves out what is null; nothing below the top can be.
        return {name: value for name, value in body.items() if value is not None}
