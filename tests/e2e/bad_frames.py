"""Generators of malformed input: mutated commands, Socket.IO packets and WebSocket frames."""

import json
import random
from typing import Any

import msgspec

from handlers.sockets.audiences import COMMANDS

AUDIENCES = ("user", "vendor", "rider", "ops")
_EDGE_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -1e308, 2**53, 2**64, 10**30, "", " ", "\x00", "é", "ord_1",
    "ord_" + "9" * 60, "../../etc/passwd", "'; DROP TABLE orders;--", "${jndi:x}", "0x1",
    [], [[]], {}, {"a": 1}, [None] * 50, {"$ne": None}, {"__proto__": {"x": 1}}, "٠١٢",
)  # fmt: skip
_MALFORMED_FRAMES = (
    "", "9", "x", "2", "0", "5", "3probe", "6", "4", "49", "4abc", "42", "42{}", "42[", "42[]",
    '42/rider,', '42/rider,[]', '42/rider,{}', '42/rider,[1]', '42/nowhere,["x"]', "41/nowhere,",
    '43/rider,1[]', '43/rider,[]', '44/rider,{}', '451-/rider,["x",{"_placeholder":true,"num":0}]',
    '461-/rider,1[{"_placeholder":true,"num":0}]', "40/rider,[]", "bAQIDBA==", "4[[[[[[[[[[[[[[[[",
    '42/rider,"x"', '42/rider,abc["x"]', "1", "\x1e", "4" + "[" * 5000, '42["x",' + "{" * 5000,
)  # fmt: skip


def fields_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Fields of a command by wire name, each with its type."""
    return {field.encode_name: str(field.type) for field in msgspec.structs.fields(struct)}


class FrameMutator:
    """Draws mutated frames from a seed; the same seed draws the same frames."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._commands = [
            (audience, name, list(fields_of(row.struct).items()))
            for audience in AUDIENCES
            for name, row in COMMANDS[audience].items()
        ]

    def frame(self, audience: str) -> str | bytes:
        """One frame for a connection that has joined an audience's namespace."""
        kind = self._rng.random()
        if kind < 0.85:
            return self._command_frame(audience)
        if kind < 0.96:
            return self._mutate(self._command_frame(audience))
        if kind < 0.99:
            return self._rng.choice(_MALFORMED_FRAMES)
        return self._rng.randbytes(self._rng.randint(0, 200))

    def _command_frame(self, audience: str) -> str:
        """A well-formed command with arbitrary values."""
        own = [each for each in self._commands if each[0] == audience]
        _, name, fields = self._rng.choice(own if self._rng.random() < 0.9 else self._commands)
        body = {
            field: self._field_value(kind) for field, kind in fields if self._rng.random() < 0.8
        }
        if self._rng.random() < 0.1:
            body[self._rng.choice(("x", "orderId", "__proto__", ""))] = self._edge_value()
        packet: list[Any] = [name, body, *([{}] if self._rng.random() < 0.05 else [])]
        ack = self._rng.choice(("", "", "1", "77", "999999999"))
        return f"42/{audience},{ack}{json.dumps(packet)}"

    def _field_value(self, kind: str) -> Any:
        if self._rng.random() < 0.3:
            return self._edge_value()
        if "float" in kind or "int" in kind:
            return self._rng.choice((0, 4.05, 9.7, -91, 181, 5, 10**6))
        if "bool" in kind:
            return self._rng.random() < 0.5
        return self._rng.choice(("ord_1", "ofr_1", "rdr_1", "because", "a" * 300))

    def _edge_value(self) -> Any:
        return self._rng.choice(_EDGE_VALUES)

    def _mutate(self, frame_text: str) -> str:
        """A frame with some characters changed, doubled, lost or moved."""
        text = list(frame_text)
        for _ in range(self._rng.randint(1, 4)):
            index = self._rng.randrange(len(text) or 1)
            mutation = self._rng.randrange(5)
            inserted = self._rng.choice(',"[]{}:0129\\\x00\x1eé-+.eE/ntf')
            if mutation == 0:
                text[index : index + 1] = [inserted]
            elif mutation == 1:
                text[index:index] = [inserted]
            elif mutation == 2:
                del text[index : index + self._rng.randint(1, 8)]
            elif mutation == 3:
                text[index:index] = text[index : index + self._rng.randint(1, 30)]
            else:
                text = text[:index] or ["4"]
        return "".join(text)


def raw_frames(rng: random.Random) -> bytes:
    """A series of WebSocket frames, valid and broken. Source: RFC 6455 section 5.

    The broken ones come between valid ones, so that the reader has state when it meets them.
    """
    kinds = (
        _whole_message,
        _whole_message,
        _fragmented_message,
        _control_frame,
        _odd_length_frame,
        _random_bytes,
    )
    return b"".join(rng.choice(kinds)(rng) for _ in range(rng.randint(1, 20)))


def _masked_frame(
    rng: random.Random, first_byte: int, payload: bytes, length_bytes: int | None = None
) -> bytes:
    """A masked frame; `length_bytes` is the size of its extended length field (0, 2 or 8)."""
    shortest = 0 if len(payload) <= 125 else 2 if len(payload) <= 0xFFFF else 8
    length_bytes = shortest if length_bytes is None else length_bytes
    length_code = len(payload) if length_bytes == 0 else 126 if length_bytes == 2 else 127
    length_field = len(payload).to_bytes(8, "big")[8 - length_bytes :]
    mask = rng.randbytes(4)
    masked_payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((first_byte, 0x80 | length_code & 0x7F)) + length_field + mask + masked_payload


def _draw_payload(rng: random.Random) -> bytes:
    """A message or nothing; some are not UTF-8 or end in the middle of a character."""
    return rng.choice(
        (
            b"3", b"2", b"40/rider,{}", b'42/rider,["location_update",{"lat":4,"lng":9}]',
            "é٠".encode()[: rng.randint(0, 4)], b"\xed\xa0\x80", b"\xf8\x88", b"\x00" * 9,
            b"4" * rng.choice((125, 126, 4_000, 16_384, 16_385, 65_535, 65_536)),
        )
    )  # fmt: skip


def _whole_message(rng: random.Random) -> bytes:
    return _masked_frame(rng, rng.choice((0x81, 0x81, 0x81, 0x82)), _draw_payload(rng))


def _fragmented_message(rng: random.Random) -> bytes:
    """A fragmented message with control frames in between; some lack their begin or their end."""
    whole = _draw_payload(rng)
    cuts = sorted(rng.randint(0, len(whole)) for _ in range(rng.randint(1, 6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    first_bytes = [rng.choice((0x01, 0x01, 0x01, 0x00)), *(0x00 for _ in pieces[2:]), 0x80]
    if rng.random() < 0.2:
        first_bytes[-1] = rng.choice((0x00, 0x81, 0x01))
    frames = b""
    for first, piece in zip(first_bytes, pieces, strict=True):
        frames += _masked_frame(rng, first, piece) + (
            _control_frame(rng) if rng.random() < 0.3 else b""
        )
    return frames


def _control_frame(rng: random.Random) -> bytes:
    """Pings, pongs and closes, some too long, fragmented, or with an invalid close code."""
    code = rng.choice((1000, 1001, 1005, 1006, 1015, 999, 2999, 3000, 5000))
    payload = rng.choice((b"", b"x" * 125, b"x" * 126, code.to_bytes(2, "big") + b"\xff", b"\x03"))
    return _masked_frame(rng, rng.choice((0x89, 0x89, 0x8A, 0x8A, 0x88, 0x09, 0x08)), payload)


def _odd_length_frame(rng: random.Random) -> bytes:
    """Lengths encoded longer than necessary, or far beyond any accepted size."""
    if rng.random() < 0.4:
        return _masked_frame(rng, 0x81, b"3", rng.choice((2, 8)))
    length = rng.choice((2**63, 2**63 - 1, 2**64 - 1, 2**62, 2**32, 2**31, 65_536, 16_385))
    return bytes((0x81, 0xFF)) + length.to_bytes(8, "big") + rng.randbytes(rng.randint(0, 40))


def _random_bytes(rng: random.Random) -> bytes:
    """A frame with a random first byte, masked or not."""
    masked = rng.choice((0x80, 0x80, 0x00))
    length = rng.choice((0, 1, 60, 126, 127))
    return bytes((rng.randrange(256), masked | length)) + rng.randbytes(rng.randint(0, 64))
