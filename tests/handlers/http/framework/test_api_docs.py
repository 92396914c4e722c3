"""The endpoints of the API documents."""

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
