"""The endpoints of the API documents."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from handlers.http.framework.api_docs import add_docs
from handlers.http.framework.envelope import PUBLIC, Route, register_routes
from handlers.sockets.audiences import COMMANDS


async def get_thing(_request: web.Request) -> web.Response:
    """One thing."""
    return web.Response()


async def test_the_documents_describe_the_routes_that_are_served():
    """JSON for machines, and a page for people, of the application's own routes."""
    app = web.Application()
    register_routes(app, [Route("GET", "/thing", PUBLIC, get_thing)])
    add_docs(app, COMMANDS)
    async with TestClient(TestServer(app)) as client:
        openapi = await (await client.get("/openapi.json")).json()
        asyncapi = await (await client.get("/asyncapi.json")).json()
        page = await client.get("/docs")

        assert (openapi["openapi"], list(openapi["paths"])) == ("3.1.0", ["/thing"])
        assert (asyncapi["asyncapi"], set(asyncapi["channels"])) == ("3.0.0", set(COMMANDS))
        assert page.content_type == "text/html"
        assert "<code>GET /thing</code>" in await page.text()


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json", "/docs"])
async def test_a_document_is_built_once_and_not_sent_again(path: str):
    """A client that has it gets 304; HEAD has the same headers; nothing is built per request."""
    built: list[None] = []

    class CountedTables(dict[str, Any]):
        def items(self) -> Any:
            built.append(None)
            return super().items()

    app = web.Application()
    register_routes(app, [Route("GET", "/thing", PUBLIC, get_thing)])
    add_docs(app, CountedTables(COMMANDS))
    built_at_start = len(built)
    async with TestClient(TestServer(app)) as client:
        first = await client.get(path)
        etag = first.headers["ETag"]
        assert (first.status, first.headers["Cache-Control"]) == (200, "public, max-age=60")
        for known in (etag, f'"other", {etag}', "*", f"W/{etag}"):
            again = await client.get(path, headers={"If-None-Match": known})
            assert (again.status, await again.read()) == (304, b"")
            assert again.headers["ETag"] == etag
        changed = await client.get(path, headers={"If-None-Match": '"other"'})
        assert changed.status == 200
        head = await client.head(path)
        assert (head.status, head.headers["Content-Length"]) == (
            200, first.headers["Content-Length"],
        )  # fmt: skip
    assert len(built) == built_at_start
