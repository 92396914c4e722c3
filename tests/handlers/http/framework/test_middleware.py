"""HTTP middleware: what it passes through as it is; its answers to errors are in test_envelope."""

from aiohttp import web

from handlers.http.framework.envelope import PUBLIC, Route
from tests.handlers.socket_edge import RunningEdge, run_edge


async def redirect(_request: web.Request) -> object:
    raise web.HTTPFound("/elsewhere")


async def ask(edge: RunningEdge, path: str) -> tuple[int, str]:
    """Request a path without following redirects; status and text."""
    async with edge.http.get(edge.url + path, allow_redirects=False) as response:
        return response.status, await response.text()


async def test_the_sockets_paths_are_not_enveloped():
    """A bad handshake gets Engine.IO's answer; any other unknown path gets the envelope."""
    async with run_edge() as edge:
        status, text = await ask(edge, "/socket.io/?EIO=3&transport=polling")
        assert (status, "success" in text) == (400, False)
        status, text = await ask(edge, "/nowhere")
        assert (status, '"success":false' in text) == (404, True)


async def test_a_redirect_is_not_enveloped():
    """It is an answer of the endpoint, and no error."""
    async with run_edge(routes=[Route("GET", "/moved", PUBLIC, redirect)]) as edge:
        status, text = await ask(edge, "/moved")
        assert (status, "success" in text) == (302, False)
