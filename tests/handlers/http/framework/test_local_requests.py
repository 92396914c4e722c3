"""Requests of this machine are told apart from those of a network, by their true address."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer

from handlers.http.framework.local_requests import is_from_this_machine, is_own_page


async def get_facts(request: web.Request) -> web.Response:
    facts = {"local": is_from_this_machine(request), "own": is_own_page(request)}
    return web.json_response(facts)


@pytest.fixture
async def server() -> AsyncIterator[BaseTestServer]:
    """A server at every address of this machine."""
    app = web.Application()
    app.router.add_get("/", get_facts)
    async with TestServer(app, host="0.0.0.0") as server:
        yield server


def own_network_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: the route alone chooses the address.
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


async def test_a_peer_of_the_network_is_not_local(server: BaseTestServer):
    """Whatever it writes into Host or a forwarding header."""
    url = f"http://{own_network_address()}:{server.port}/"
    hosts = [{"Host": "localhost"}, {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"}]
    async with ClientSession() as client:
        for headers in hosts:
            async with client.get(url, headers=headers) as answer:
                assert (await answer.json())["local"] is False


async def test_a_peer_of_this_machine_is_local(server: BaseTestServer):
    """A loopback connection without a proxy between."""
    async with (
        ClientSession() as client,
        client.get(f"http://127.0.0.1:{server.port}/") as answer,
    ):
        assert await answer.json() == {"local": True, "own": True}
