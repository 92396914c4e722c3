"""Bounded reading of response bodies."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from handlers.gateways.response_body import read_response_body

PARTS = (b"a" * 100, b"b" * 100, b"c")


@pytest.fixture
async def response() -> AsyncIterator[aiohttp.ClientResponse]:
    """A chunked response of 201 bytes, without a Content-Length."""

    async def get_parts(request: web.Request) -> web.StreamResponse:
        streamed = web.StreamResponse()
        await streamed.prepare(request)
        for part in PARTS:
            await streamed.write(part)
        return streamed

    app = web.Application()
    app.router.add_get("/", get_parts)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/")) as received,
    ):
        yield received


async def test_a_body_is_read_to_its_end(response: aiohttp.ClientResponse):
    """All parts, if together they are as long as allowed."""
    assert await read_response_body(response, 201) == b"".join(PARTS)


async def test_a_longer_body_is_refused(response: aiohttp.ClientResponse):
    """One byte more than allowed is a ValueError, without a Content-Length as well."""
    with pytest.raises(ValueError, match="longer than 200 bytes"):
        await read_response_body(response, 200)
