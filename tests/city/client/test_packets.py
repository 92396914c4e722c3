"""Socket.IO packets against the protocol's own examples."""

import pytest

from city.client import packets
from city.client.packets import (
    AckPacket,
    Connected,
    ConnectRefused,
    Disconnected,
    EventPacket,
    Handshake,
    Heartbeat,
    InvalidPacket,
    Packet,
)

# Source: Socket.IO protocol 5 and Engine.IO protocol 4, the sample sessions.
PARSED: dict[str, Packet] = {
    '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}': Handshake(25.0, 20.0),
    "2": Heartbeat(),
    "6": None,
    "3": None,
    "1": Disconnected(),
    '40/rider,{"sid":"b"}': Connected(),
    '44/rider,{"message":"token_expired"}': ConnectRefused("token_expired"),
    "41/rider,": Disconnected(),
    '42/rider,["hello",{"a":1}]': EventPacket("hello", {"a": 1}, None),
    '42/rider,17["hello",{"a":1}]': EventPacket("hello", {"a": 1}, 17),
    '42/rider,["bare"]': EventPacket("bare", {}, None),
    '43/rider,12[{"ok":true}]': AckPacket(12, {"ok": True}),
    "43/rider,12[]": AckPacket(12, {}),
}
INVALID = ["", "9", "5", "b64", "42/rider,", "42/rider,{", "43/rider,[1]", "0[]", '42/x,{"a":1}']


@pytest.mark.parametrize("frame", PARSED)
def test_frames_are_parsed(frame: str) -> None:
    """Each frame of the sample sessions is parsed to its packet."""
    assert packets.parse_packet(frame) == PARSED[frame]


@pytest.mark.parametrize("frame", INVALID)
def test_invalid_frames_are_refused(frame: str) -> None:
    """A frame that is not a packet raises InvalidPacket."""
    with pytest.raises(InvalidPacket):
        packets.parse_packet(frame)


def test_packets_are_encoded() -> None:
    """Encoded packets are those of the protocol."""
    assert packets.connect_packet("/user", {"token": "t"}) == '40/user,{"token":"t"}'
    assert packets.event_packet("/user", "x", {"a": 1}) == '42/user,["x",{"a":1}]'
    assert packets.event_packet("/user", "x", "ord_1", 7) == '42/user,7["x","ord_1"]'
    assert packets.ack_packet("/user", 3, {"ok": True}) == '43/user,3[{"ok":true}]'
