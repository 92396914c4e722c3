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
READ: dict[str, Packet] = {
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
NONSENSE = ["", "9", "5", "b64", "42/rider,", "42/rider,{", "43/rider,[1]", "0[]", '42/x,{"a":1}']


@pytest.mark.parametrize("frame", READ)
def test_frames_are_read(frame: str) -> None:
    """Each frame of the protocol says what the protocol says it says."""
    assert packets.parse_packet(frame) == READ[frame]


@pytest.mark.parametrize("frame", NONSENSE)
def test_nonsense_is_told_apart(frame: str) -> None:
    """What is no packet is refused, never guessed at."""
    with pytest.raises(InvalidPacket):
        packets.parse_packet(frame)


def test_what_we_say() -> None:
    """Our own packets are the protocol's."""
    assert packets.connect_packet("/user", {"token": "t"}) == '40/user,{"token":"t"}'
    assert packets.event_packet("/user", "x", {"a": 1}) == '42/user,["x",{"a":1}]'
    assert packets.event_packet("/user", "x", "ord_1", 7) == '42/user,7["x","ord_1"]'
    assert packets.ack_packet("/user", 3, {"ok": True}) == '43/user,3[{"ok":true}]'
