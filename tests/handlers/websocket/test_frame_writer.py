"""Text frames of the server, read by an independent client."""

import pytest

from handlers.websocket.frame_writer import cached_text_frame, payload_of, text_frame
from tests.handlers.socket_edge import WS_PATH, run_edge

SIZES = [0, 1, 125, 126, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_the_payload_is_read_back(size: int):
    """`payload_of` gives what `text_frame` got, with a length of 7, 16 or 64 bits."""
    payload = b"4" * size
    assert payload_of(text_frame(payload)) == payload


@pytest.mark.parametrize("size", SIZES)
async def test_a_frame_is_readable_by_an_independent_client(size: int):
    """The client of aiohttp reads the same payload."""
    payload = b"4" * size
    async with (
        run_edge() as edge,
        edge.http.ws_connect(edge.url + WS_PATH, max_msg_size=0) as ws,
    ):
        await ws.receive()
        [connection] = edge.server.eio.sockets.values()
        connection.send_buffer.send(text_frame(payload))
        assert (await ws.receive()).data == payload.decode()


def test_a_packet_for_many_receivers_is_encoded_once():
    """The frame of the same packet is the same object; another packet has its own."""
    packet, other = b'42/user,["order_ready",{}]', b'42/user,["order_ready",{"n":2}]'
    frame = cached_text_frame(packet)
    assert cached_text_frame(packet) is frame
    assert frame == text_frame(packet)
    assert cached_text_frame(other) == text_frame(other)
    assert cached_text_frame(packet) == frame
