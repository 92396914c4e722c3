"""Frames that no app sends: every command bent, and both protocols broken."""

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
    """The fields of a command by their names on the wire, each with its kind."""
    return {field.encode_name: str(field.type) for field in msgspec.structs.fields(struct)}


class FrameMutator:
    """Draws frames from a seed; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._commands = [
            (audience, name, list(fields_of(row.struct).items()))
            for audience in AUDIENCES
            for name, row in COMMANDS[audience].items()
        ]

    def frame(self, audience: str) -> str | bytes:
        """One frame for a connection that joined an audience's namespace."""
        kind = self._rng.random()
        if kind < 0.85:
            return self._command_frame(audience)
        if kind < 0.96:
            return self._mutate(self._command_frame(audience))
        if kind < 0.99:
            return self._rng.choice(_MALFORMED_FRAMES)
        return self._rng.randbytes(self._rng.randint(0, 200))

    def _command_frame(self, audience: str) -> str:
        """A command in its form; its values may be anything."""
        own = [each for each in self._commands if each[0] == audience]
        _, name, fields = self._rng.choice(own if self._rng.random() < 0.9 else self._commands)
        body = {
            field: self._field_value(kind) for field, kind in fields if self._rng.random() < 0.8
        }
        if self._rng.random() < 0.1:
            body[self._rng.choice(("x", "orderId", "__proto__", ""))] = self._edge_value()
        said: list[Any] = [name, body, *([{}] if self._rng.random() < 0.05 else [])]
        ack = self._rng.choice(("", "", "1", "77", "999999999"))
        return f"42/{audience},{ack}{json.dumps(said)}"

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
        """A frame with some of its characters changed, doubled, lost or moved."""
        text = list(frame_text)
        for _ in range(self._rng.randint(1, 4)):
            at = self._rng.randrange(len(text) or 1)
            how = self._rng.randrange(5)
            piece = self._rng.choice(',"[]{}:0129\\\x00\x1eé-+.eE/ntf')
            if how == 0:
                text[at : at + 1] = [piece]
            elif how == 1:
                text[at:at] = [piece]
            elif how == 2:
                del text[at : at + self._rng.randint(1, 8)]
            elif how == 3:
                text[at:at] = text[at : at + self._rng.randint(1, 30)]
            else:
                text = text[:at] or ["4"]
        return "".join(text)


def raw_frames(rng: random.Random) -> bytes:
    """Bytes where WebSocket frames should be. Source: RFC 6455 section 5, each rule broken.

    Some of them are good: what is bad comes in the middle of what was understood.
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
    """A masked frame; `width` is in how many bytes its length is written."""
    shortest = 0 if len(payload) <= 125 else 2 if len(payload) <= 0xFFFF else 8
    length_bytes = shortest if length_bytes is None else length_bytes
    word = len(payload) if length_bytes == 0 else 126 if length_bytes == 2 else 127
    written = len(payload).to_bytes(8, "big")[8 - length_bytes :]
    key = rng.randbytes(4)
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return bytes((first_byte, 0x80 | word & 0x7F)) + written + key + masked


def _draw_payload(rng: random.Random) -> bytes:
    """A message, or none; some of them are no UTF-8, or end in the middle of a letter."""
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
    """A message in parts, with control frames between them; not all of them begin or end."""
    whole = _draw_payload(rng)
    cuts = sorted(rng.randint(0, len(whole)) for _ in range(rng.randint(1, 6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    firsts = [rng.choice((0x01, 0x01, 0x01, 0x00)), *(0x00 for _ in pieces[2:]), 0x80]
    if rng.random() < 0.2:
        firsts[-1] = rng.choice((0x00, 0x81, 0x01))
    said = b""
    for first, piece in zip(firsts, pieces, strict=True):
        said += _masked_frame(rng, first, piece) + (
            _control_frame(rng) if rng.random() < 0.3 else b""
        )
    return said


def _control_frame(rng: random.Random) -> bytes:
    """Pings, pongs and goodbyes, some of them too long, in parts, or with a code of nobody."""
    code = rng.choice((1000, 1001, 1005, 1006, 1015, 999, 2999, 3000, 5000))
    payload = rng.choice((b"", b"x" * 125, b"x" * 126, code.to_bytes(2, "big") + b"\xff", b"\x03"))
    return _masked_frame(rng, rng.choice((0x89, 0x89, 0x8A, 0x8A, 0x88, 0x09, 0x08)), payload)


def _odd_length_frame(rng: random.Random) -> bytes:
    """Lengths longer than they need be, or of more than anybody will ever send."""
    if rng.random() < 0.4:
        return _masked_frame(rng, 0x81, b"3", rng.choice((2, 8)))
    length = rng.choice((2**63, 2**63 - 1, 2**64 - 1, 2**62, 2**32, 2**31, 65_536, 16_385))
    return bytes((0x81, 0xFF)) + length.to_bytes(8, "big") + rng.randbytes(rng.randint(0, 40))


def _random_bytes(rng: random.Random) -> bytes:
    """A first byte of any kind, with or without a mask."""
    masked = rng.choice((0x80, 0x80, 0x00))
    length = rng.choice((0, 1, 60, 126, 127))
    return bytes((rng.randrange(256), masked | length)) + rng.randbytes(rng.randint(0, 64))
