"""The official Socket.IO clients, in JavaScript and Python, against a real server."""

import pytest
import socketio

from city.client.tokens import TokenSigner
from dispatch.clock import SystemClock
from tests.e2e.local_server import LocalServer
from tests.e2e.node_script import run_script
from tests.waiting import Until


@pytest.mark.slow
def test_the_official_client_in_javascript(server: LocalServer):
    """The JavaScript client connects by both transports, reconnects, and gets its answers."""
    assert "0 failed" in run_script("official_client.mjs", server)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]])
async def test_the_official_client_in_python(server: LocalServer, until: Until, transports):
    """The Python client connects by both transports, is answered, and reconnects by itself."""
    signer = TokenSigner(server.secret, SystemClock().now_ms)
    client = socketio.AsyncClient(reconnection_delay=1, reconnection_delay_max=1)
    connects: list[int] = []
    client.on("connect", lambda: connects.append(1), namespace="/rider")
    token = signer.sign("RIDER", f"rdr_py_{'_'.join(transports)}")
    await client.connect(
        server.url, auth={"token": token}, namespaces=["/rider"], transports=transports
    )
    for times in (1, 2, 3):
        await until.true(lambda times=times: len(connects) == times)
        answer = await client.call("set_availability", {"available": True}, namespace="/rider")
        assert answer == {"ok": True, "data": {"available": True}}
        await client.eio.ws.close()
    await until.true(lambda: len(connects) == 4)
    await client.disconnect()
