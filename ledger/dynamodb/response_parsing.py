"""Parser of DynamoDB's answers to reads: plain JSON, without the library's walk through shapes."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from typing import Any, cast

import orjson
from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory

# Shapes of the answers to reads; in them only bytes differ from their JSON form.
# Source: DynamoDB API, Output shapes of these operations.
_READ_OUTPUTS = frozenset({"GetItemOutput", "BatchGetItemOutput", "QueryOutput"})
_BINARY_MARKERS = (b'"B":', b'"BS":')
_OK_MAX = 300


class ReadParserFactory(AioResponseParserFactory):
    """Creates the parser of a client that is used for DynamoDB only.

    The library's parser compares every value of an answer with its description of the service.
    Source: measured, decision 23 in docs/decisions: 2.5 to 3 times the CPU of a large read.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parser: AioJSONParser | None = None

    def create_parser(self, protocol_name: str) -> AioJSONParser:
        """The parser; one for all answers, since it keeps no state.

        The library creates a pair that refer to each other for every answer; under the server's
        high thresholds of the garbage collector they took 15 MiB. Source: measured 2026-11-21.
        """
        assert protocol_name == "json", "DynamoDB's protocol is JSON"
        if self._parser is None:
            self._parser = _ReadParser()
        return self._parser


class _ReadParser(AioJSONParser):
    """Parses answers to reads itself and leaves everything else to the library."""

    async def parse(self, response: dict[str, Any], shape: Any) -> dict[str, Any]:
        body = _read_body(response, shape)
        if body is None:
            return await super().parse(response, shape)
        # The library leaves out null members; they can occur only at the top.
        parsed = {name: value for name, value in body.items() if value is not None}
        parsed["ResponseMetadata"] = {
            "HTTPStatusCode": response["status_code"],
            "HTTPHeaders": dict(response["headers"]),
        }
        return parsed


def _read_body(response: dict[str, Any], shape: Any) -> dict[str, Any] | None:
    """The JSON object of a successful read without bytes in it; None for anything else."""
    raw: bytes = response["body"]
    if response["status_code"] > _OK_MAX or shape is None or shape.name not in _READ_OUTPUTS:
        return None
    if any(marker in raw for marker in _BINARY_MARKERS):
        return None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None
