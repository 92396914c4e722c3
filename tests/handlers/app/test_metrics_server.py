"""The metrics server: its own port, its end, and a port that is taken."""

import asyncio

import aiohttp
import pytest

from dispatch.clock import ManualClock
from dispatch.settings import SettingsError
from handlers.app.metrics_server import serve_metrics
from handlers.transport.listener import listen, listen_for_metrics
from tests.handlers.socket_edge import settings


def free_port() -> int:
    """A port that is free now."""
    with listen(settings(port=0)) as listener:
        return listener.getsockname()[1]


async def test_metrics_have_a_port_of_their_own():
    """They are served during the block, and bad input is answered in the envelope."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    listener = listen_for_metrics(settings(metrics_port=port))
    async with aiohttp.ClientSession() as http:
        async with serve_metrics(listener, ManualClock()):
            async with http.get(f"{url}/metrics") as answer:
                assert "reeyo_" in await answer.text()
            headers = {"Content-Encoding": "gzip"}
            async with http.post(f"{url}/metrics", data=b"x", headers=headers) as answer:
                assert answer.status == 415
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{url}/metrics")


async def test_port_0_is_off():
    """No socket listens, and the server runs without one."""
    listener = listen_for_metrics(settings(metrics_port=0))
    assert listener is None
    tasks = asyncio.all_tasks()
    async with serve_metrics(listener, ManualClock()):
        assert asyncio.all_tasks() == tasks


def test_a_taken_port_is_one_line():
    """It names the address and the setting."""
    with listen(settings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"127.0.0.1:{port}: .*METRICS_PORT") as error:
            listen_for_metrics(settings(metrics_port=port))
    assert "\n" not in str(error.value)
