"""Frames that no app sends: every command bent, and both protocols broken."""

import json
import random
from typing import Any

import msgspec

from handlers.audiences import COMMANDS

AUDIENCES = ("user", "vendor", "rider", "ops")
_WEIRD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -1e308, 2**53, 2**64, 10**30, "", " ", "\x00", "é", "ord_1",
    "ord_" + "9" * 60, "../../etc/passwd", "'; DROP TABLE orders;--", "${jndi:x}", "0x1",
    [], [[]], {}, {"a": 1}, [None] * 50, {"$ne": None}, {"__proto__": {"x": 1}}, "٠١٢",
)  # fmt: skip
_BROKEN = (
    "", "9", "x", "2", "0", "5", "3probe", "6", "4", "49", "4abc", "42", "42{}", "42[", "42[]",
    '42/rider,', '42/rider,[]', '42/rider,{}', '42/rider,[1]', '42/nowhere,["x"]', "41/nowhere,",
    '43/rider,1[]', '43/rider,[]', '44/rider,{}', '451-/rider,["x",{"_placeholder":true,"num":0}]',
    '461-/rider,1[{"_placeholder":true,"num":0}]', "40/rider,[]", "bAQIDBA==", "4[[[[[[[[[[[[[[[[",
    '42/rider,"x"', '42/rider,abc["x"]', "1", "\x1e", "4" + "[" * 5000, '42["x",' + "{" * 5000,
)  # fmt: skip


def fields_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The fields of a command by their names on the wire, each with its kind."""
    return {field.encode_name: str(field.type) for field in msgspec.structs.fields(struct)}


class Mutants:
    """Draws frames from a seed; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._commands = [
            (audience, name, list(fields_of(row.struct).items()))
            for audience in AUDIENCES
            for name, row in COMMANDS[audience].items()
        ]

    def frame(self, audience: str) -> str | bytes:
        """One frame for a connection that joined an audience's namespace."""
        kind = self._draw.random()
        if kind < 0.85:
            return self._command(audience)
        if kind < 0.96:
            return self._bent(self._command(audience))
        if kind < 0.99:
            return self._draw.choice(_BROKEN)
        return self._draw.randbytes(self._draw.randint(0, 200))

    def _command(self, audience: str) -> str:
        """A command in its form; its values may be anything."""
        own = [each for each in self._commands if each[0] == audience]
        _, name, fields = self._draw.choice(own if self._draw.random() < 0.9 else self._commands)
        body = {field: self._value(kind) for field, kind in fields if self._draw.random() < 0.8}
        if self._draw.random() < 0.1:
            body[self._draw.choice(("x", "orderId", "__proto__", ""))] = self._weird()
        said: list[Any] = [name, body, *([{}] if self._draw.random() < 0.05 else [])]
        ack = self._draw.choice(("", "", "1", "77", "999999999"))
        return f"42/{audience},{ack}{json.dumps(said)}"

    def _value(self, kind: str) -> Any:
        if self._draw.random() < 0.3:
            return self._weird()
        if "float" in kind or "int" in kind:
            return self._draw.choice((0, 4.05, 9.7, -91, 181, 5, 10**6))
        if "bool" in kind:
            return self._draw.random() < 0.5
        return self._draw.choice(("ord_1", "ofr_1", "rdr_1", "because", "a" * 300))

    def _weird(self) -> Any:
        return self._draw.choice(_WEIRD)

    def _bent(self, frame: str) -> str:
        """A frame with some of its characters changed, doubled, lost or moved."""
        text = list(frame)
        for _ in range(self._draw.randint(1, 4)):
            at = self._draw.randrange(len(text) or 1)
            how = self._draw.randrange(5)
            piece = self._draw.choice(',"[]{}:0129\\\x00\x1eé-+.eE/ntf')
            if how == 0:
                text[at : at + 1] = [piece]
            elif how == 1:
                text[at:at] = [piece]
            elif how == 2:
                del text[at : at + self._draw.randint(1, 8)]
            elif how == 3:
                text[at:at] = text[at : at + self._draw.randint(1, 30)]
            else:
                text = text[:at] or ["4"]
        return "".join(text)


def raw_frame(draw: random.Random) -> bytes:
    """Bytes where a WebSocket frame should be. Source: RFC 6455 section 5.2, each rule broken."""
    payload = draw.randbytes(draw.randint(0, 60))
    first = draw.choice((0x81, 0x82, 0x01, 0x00, 0x80, 0xF1, 0x83, 0x8B, 0x88, 0x89, 0x09, 0xC1))
    length = draw.choice((len(payload), 126, 127, len(payload) ^ 1 & 0x7F)) & 0x7F
    masked = draw.choice((0x80, 0x80, 0x00))
    return bytes((first, masked | length)) + draw.randbytes(4) + payload
