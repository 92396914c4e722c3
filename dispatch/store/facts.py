"""What matching must know of a rider, packed so that a script in Redis can judge it by its head."""

import struct
from typing import Literal

import msgspec

from dispatch.model import Position

# A reader leaves out what another version has written; the next fix writes it anew.
VERSION = 1
# Read by near.lua and sweep.lua, which know this much of the layout and no more:
# version, seen_at_ms, available, active, capacity.
HEAD = "<BdBBB"
# After the head come eight numbers of which NaN is unknown (place, time, heading, speed, accuracy,
# completion, rating), recent offers and cash headroom; then the vehicle, a zero byte and the name.
_PACKED = struct.Struct(HEAD + "8dHI")
_SMALL = 0xFF
_OFFERS_MAX = 0xFFFF
_CASH_MAX = 0xFFFF_FFFF
_NAN = float("nan")

Duty = Literal["off", "idle", "busy"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rider beside where he is; None is unknown.

    Units: percent, stars out of five, whole XAF he may still collect, offers of the last hour.
    """

    available: bool
    active: int
    capacity: int = 1
    completion: float | None = None
    rating: float | None = None
    recent_offers: int = 0
    cash_headroom_xaf: int = 0
    vehicle: str | None = None
    name: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A rider as the index has him. Units: as in Facts and Position; `seen_at_ms` is the server's.

    `distance_km` is from where the search began, as the crow flies; 0 where it had no beginning.
    """

    rider_id: str
    lat: float
    lng: float
    ts: int
    seen_at_ms: int
    heading: float | None
    speed: float | None
    accuracy: float | None
    available: bool
    active: int
    capacity: int
    completion: float | None
    rating: float | None
    recent_offers: int
    cash_headroom_xaf: int
    vehicle: str | None
    name: str
    distance_km: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether he takes another delivery now, as far as the index knows."""
        return self.available and self.active < self.capacity

    @property
    def duty(self) -> Duty:
        """Whether he takes orders or carries some, as operators see it."""
        if self.active:
            return "busy"
        return "idle" if self.available else "off"


def pack(position: Position, facts: Facts) -> bytes:
    """A rider's line in the index."""
    head = _PACKED.pack(
        VERSION,
        position.received_at,
        facts.available,
        min(facts.active, _SMALL),
        min(facts.capacity, _SMALL),
        position.lat,
        position.lng,
        position.ts,
        _or_nan(position.heading),
        _or_nan(position.speed),
        _or_nan(position.accuracy),
        _or_nan(facts.completion),
        _or_nan(facts.rating),
        min(facts.recent_offers, _OFFERS_MAX),
        min(max(facts.cash_headroom_xaf, 0), _CASH_MAX),
    )
    return head + f"{facts.vehicle or ''}\0{facts.name}".encode()


def unpack(rider_id: str, packed: bytes) -> Seen | None:
    """The rider of a line; None where another version of the server wrote it."""
    if packed[0] != VERSION:
        return None
    fields = _PACKED.unpack_from(packed)
    vehicle, _, name = packed[_PACKED.size :].decode().partition("\0")
    return Seen(
        rider_id=rider_id,
        seen_at_ms=int(fields[1]),
        available=bool(fields[2]),
        active=fields[3],
        capacity=fields[4],
        lat=fields[5],
        lng=fields[6],
        ts=int(fields[7]),
        heading=_or_none(fields[8]),
        speed=_or_none(fields[9]),
        accuracy=_or_none(fields[10]),
        completion=_or_none(fields[11]),
        rating=_or_none(fields[12]),
        recent_offers=fields[13],
        cash_headroom_xaf=fields[14],
        vehicle=vehicle or None,
        name=name,
    )


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


def _or_none(value: float) -> float | None:
    # NaN alone differs from itself.
    return value if value == value else None  # noqa: PLR0124
