"""The bytes of Socket.IO packets: how they are encoded, recognised and edited."""

import json

import pytest
from msgspec.structs import replace
from socketio.packet import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Packet

from dispatch.wire import frames
from dispatch.wire.events import (
    EtaUpdate,
    Freshness,
    LatLng,
    OrderAccepted,
    RiderLocationUpdate,
    ServerDraining,
)

POSITION = RiderLocationUpdate(
    order_id="ord_1", rider_id="rdr_1", location=LatLng(4.05, 9.7), heading=None, speed=7.5,
    accuracy=None, ts=1_000, received_at=1_250, state="live",
)  # fmt: skip
POSITION_BODY = {
    "orderId": "ord_1", "riderId": "rdr_1", "location": {"lat": 4.05, "lng": 9.7}, "heading": None,
    "speed": 7.5, "accuracy": None, "ts": 1_000, "receivedAt": 1_250, "state": "live",
}  # fmt: skip


def decoded(packet: bytes) -> Packet:
    """Decode a packet with the library that clients use."""
    text = packet.decode()
    assert text.startswith("4"), "an Engine.IO message"
    return Packet(encoded_packet=text[1:])


@pytest.mark.parametrize(
    ("packet", "packet_type", "ack_id", "data"),
    [
        (
            frames.encode_event("/rider", ServerDraining(after_ms=5)),
            EVENT,
            None,
            ["server_draining", {"afterMs": 5}],
        ),
        (frames.encode_packet("/rider", "hello", b'{"a":1}'), EVENT, None, ["hello", {"a": 1}]),
        (frames.encode_packet("/rider", "hello", b"[]", 12), EVENT, 12, ["hello", []]),
        (frames.encode_ack("/rider", 7, b'{"ok":true}'), ACK, 7, [{"ok": True}]),
        (frames.encode_connect("/rider", b'{"sid":"x"}'), CONNECT, None, {"sid": "x"}),
        (
            frames.encode_connect_error("/rider", b'{"message":"no"}'),
            CONNECT_ERROR,
            None,
            {"message": "no"},
        ),
        (frames.encode_disconnect("/rider"), DISCONNECT, None, None),
    ],
)
def test_packets_are_decoded_by_the_library(
    packet: bytes, packet_type: int, ack_id: int | None, data: object
):
    """Each packet decodes to its type, namespace, acknowledgement id and data."""
    read = decoded(packet)
    assert (read.packet_type, read.namespace, read.id) == (packet_type, "/rider", ack_id)
    assert read.data == data


def test_the_main_namespace_is_left_out():
    """A packet of the main namespace names none. Source: Socket.IO protocol version 5."""
    assert frames.encode_connect_error("/", b"{}") == b"44{}"
    assert frames.encode_disconnect("/") == b"41"


def test_a_position_is_encoded_like_any_event():
    """`encode_position` gives the same bytes as `encode_event` for customers."""
    packet = frames.encode_position(POSITION)
    assert packet == frames.encode_event("/user", POSITION)
    assert packet.startswith(frames.POSITION_PREFIX)
    assert json.loads(packet[packet.index(b"[") :]) == ["rider_location_update", POSITION_BODY]


@pytest.mark.parametrize("ack_id", [None, 7])
def test_the_event_name_is_read_from_a_packet(ack_id: int | None):
    """With and without an acknowledgement id."""
    packet = frames.encode_packet("/rider", "delivery_request", b'{"x":["y"]}', ack_id)
    assert frames.event_name(packet) == b"delivery_request"


@pytest.mark.parametrize(
    "event", [POSITION, EtaUpdate(order_id="ord_1", eta_seconds=9, to="pickup")]
)
def test_coalescible_events_have_a_key_of_their_order(event: RiderLocationUpdate | EtaUpdate):
    """The key is the same for a newer event of the order, and another for another order."""
    key = frames.coalescing_key(frames.encode_event("/user", event))
    newer = replace(event, **{event.__struct_fields__[-1]: "dropoff"})
    other = replace(event, order_id="ord_2")
    assert key is not None
    assert key.endswith(b'{"orderId":"ord_1"')
    assert frames.coalescing_key(frames.encode_event("/user", newer)) == key
    assert frames.coalescing_key(frames.encode_event("/user", other)) != key
    assert frames.coalescing_key(frames.encode_event("/ops", event)) != key


@pytest.mark.parametrize(
    "packet",
    [
        frames.encode_event("/user", OrderAccepted(order_id="ord_1", version=2)),
        frames.encode_ack("/rider", 1, b'{"ok":true}'),
        frames.encode_connect("/user", b'{"sid":"x"}'),
        frames.encode_disconnect("/user"),
        b"2",
        b"",
        b'42/user,["rider_location_update_of_a_kind_with_a_long_name",{}]',
    ],
)
def test_other_packets_have_no_coalescing_key(packet: bytes):
    """Events that are no complete current value, acknowledgements and pings are never replaced."""
    assert frames.coalescing_key(packet) is None


def test_the_reception_time_is_read_from_a_position():
    """Also where a field before it holds the field's name as text."""
    assert frames.received_at_ms(frames.encode_position(POSITION)) == 1_250
    odd = replace(POSITION, order_id='"receivedAt":7,')
    assert frames.received_at_ms(frames.encode_position(odd)) == 1_250


def test_the_time_of_a_fix_is_read_from_a_position():
    """Also where a field before it holds the field's name as text."""
    odd = replace(POSITION, order_id='"ts":7,')
    assert frames.made_at_ms(frames.encode_position(POSITION)) == POSITION.ts
    assert frames.made_at_ms(frames.encode_position(odd)) == POSITION.ts


@pytest.mark.parametrize(
    ("before", "limit", "after"),
    [
        ("live", "live", "live"),
        ("live", "stale", "stale"),
        ("live", "lost", "lost"),
        ("stale", "live", "stale"),
        ("stale", "stale", "stale"),
        ("stale", "lost", "lost"),
        ("lost", "live", "lost"),
        ("lost", "stale", "lost"),
        ("lost", "lost", "lost"),
    ],
)
def test_freshness_is_only_downgraded(before: Freshness, limit: Freshness, after: Freshness):
    """The packet becomes what encoding the worse state gives, and nothing else changes."""
    packet = frames.encode_position(replace(POSITION, state=before))
    expected = frames.encode_position(replace(POSITION, state=after))
    assert frames.downgrade_freshness(packet, limit) == expected


@pytest.mark.parametrize("name", ["location_update", "update_location", "set_availability"])
def test_a_command_without_ack_id_has_a_prefix(name: str):
    """The prefix is what `command_prefix` gives, and the payload begins two characters later."""
    packet = f'42/rider,["{name}",{{"lat":4.05,"lng":9.7}}]'
    end = frames.command_name_end(packet)
    assert packet[:end] == frames.command_prefix("/rider", name)
    assert packet[end + 2 : -1] == '{"lat":4.05,"lng":9.7}'


@pytest.mark.parametrize("packet", ["3", "", "42/rider,", '42/rider,["hello"]', "4" + "[" * 100])
def test_a_packet_without_payload_has_no_command_prefix(packet: str):
    """Pongs, commands without a payload and malformed packets."""
    assert frames.command_name_end(packet) == -1
