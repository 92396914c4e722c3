"""Rider facts: the packed entry of a rider in the geo index, position first, then facts.

A Lua script reads layout version, time and coordinates from the first bytes.
"""

import struct
from typing import Literal

import msgspec

from dispatch.model import Position

# A reader skips entries of another version; the rider's next fix replaces them.
LAYOUT_VERSION = 2
# version, seen_at_ms, lat, lng, ts, heading, speed, accuracy; NaN in the last three is unknown.
# The scripts in lua/ depend on the first four.
_POSITION_LAYOUT = struct.Struct("<Bd6d")
# The beginning of it: version, seen_at_ms, lat, lng.
_HEAD_LAYOUT = struct.Struct("<B3d")
# available, active, capacity, completion, rating, until_ms, recent_offers, cash_headroom_xaf; NaN
# is unknown. They are followed by the vehicle, a zero byte and the name, in UTF-8.
_FACTS_LAYOUT = struct.Struct("<BBB3dHI")
_BYTE_MAX = 0xFF
_OFFERS_MAX = 0xFFFF
_CASH_MAX = 0xFFFF_FFFF
_NAN = float("nan")

DutyStatus = Literal["off", "idle", "busy"]


class RiderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What matching must know of a rider beside its position; None is unknown.

    Units: `completion` percent, `rating` stars out of five, `until_ms` Unix milliseconds up to
    which the rider takes orders, `recent_offers` offers of the last hour, `cash_headroom_xaf` whole
    XAF.
    """

    available: bool
    active: int
    capacity: int = 1
    completion: float | None = None
    rating: float | None = None
    until_ms: int | None = None
    recent_offers: int = 0
    cash_headroom_xaf: int = 0
    vehicle: str | None = None
    name: str = ""
    # Packed once: facts change seldom and are written with every flush.
    packed: bytes = b""

    @property
    def is_free(self) -> bool:
        """Whether the rider can take another delivery."""
        return self.available and self.active < self.capacity

    def __post_init__(self) -> None:
        numbers = _FACTS_LAYOUT.pack(
            self.available,
            min(self.active, _BYTE_MAX),
            min(self.capacity, _BYTE_MAX),
            _or_nan(self.completion),
            _or_nan(self.rating),
            _or_nan(self.until_ms),
            min(self.recent_offers, _OFFERS_MAX),
            min(max(self.cash_headroom_xaf, 0), _CASH_MAX),
        )
        texts = f"{self.vehicle or ''}\0{self.name}".encode()
        msgspec.structs.force_setattr(self, "packed", numbers + texts)


class IndexedRider(msgspec.Struct, frozen=True, kw_only=True):
    """A rider as the geo index has it.

    Units: as in RiderFacts and Position; `seen_at_ms` is the server's time of the last fix;
    `distance_km` is the distance from the centre of the search, 0 where it had none.
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
    until_ms: int | None = None
    distance_km: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether the rider can take another delivery, as far as the index knows."""
        return self.available and self.active < self.capacity

    @property
    def duty_status(self) -> DutyStatus:
        """Busy with an order in hand, else idle or off, as operators see it."""
        if self.active:
            return "busy"
        return "idle" if self.available else "off"


def pack_rider(position: Position, facts: RiderFacts) -> bytes:
    """Encode a rider's entry. Shapes: _POSITION_LAYOUT, then RiderFacts.packed."""
    heading, speed, accuracy = position.heading, position.speed, position.accuracy
    head = _POSITION_LAYOUT.pack(
        LAYOUT_VERSION,
        position.received_at,
        position.lat,
        position.lng,
        position.ts,
        # Inline: three calls of _or_nan would take as long as the rest.
        _NAN if heading is None else heading,
        _NAN if speed is None else speed,
        _NAN if accuracy is None else accuracy,
    )
    return head + facts.packed


def unpack_head(packed: bytes) -> tuple[float, float, float] | None:
    """Decode time and place of an entry; None for another layout version.

    Shapes: (seen_at_ms, lat, lng). Units: Unix milliseconds, degrees.
    Source: measured 2026-11-21, a tenth of the time of `unpack_rider`; a search reads some hundred
    entries and wants the nearest.
    """
    version, seen_at_ms, lat, lng = _HEAD_LAYOUT.unpack_from(packed)
    return (seen_at_ms, lat, lng) if version == LAYOUT_VERSION else None


def unpack_rider(rider_id: str, packed: bytes, distance_km: float = 0.0) -> IndexedRider | None:
    """Decode an entry; None for another layout version. Units: kilometres."""
    if packed[0] != LAYOUT_VERSION:
        return None
    _, seen_at_ms, lat, lng, ts, heading, speed, accuracy = _POSITION_LAYOUT.unpack_from(packed)
    facts = _FACTS_LAYOUT.unpack_from(packed, _POSITION_LAYOUT.size)
    vehicle, _, name = packed[_POSITION_LAYOUT.size + _FACTS_LAYOUT.size :].decode().partition("\0")
    return IndexedRider(
        rider_id=rider_id,
        lat=lat,
        lng=lng,
        ts=int(ts),
        seen_at_ms=int(seen_at_ms),
        heading=_or_none(heading),
        speed=_or_none(speed),
        accuracy=_or_none(accuracy),
        available=bool(facts[0]),
        active=facts[1],
        capacity=facts[2],
        completion=_or_none(facts[3]),
        rating=_or_none(facts[4]),
        until_ms=None if (until_ms := _or_none(facts[5])) is None else int(until_ms),
        recent_offers=facts[6],
        cash_headroom_xaf=facts[7],
        vehicle=vehicle or None,
        name=name,
        distance_km=distance_km,
    )


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


def _or_none(value: float) -> float | None:
    # Only NaN differs from itself.
    return value if value == value else None  # noqa: PLR0124
