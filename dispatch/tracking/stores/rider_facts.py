"""What matching must know of a rider, packed so that a script in Redis can judge it by its head."""

import struct
from typing import Literal

import msgspec

from dispatch.model import Position

# A reader leaves out what another version has written; the next fix writes it anew.
LAYOUT_VERSION = 2
# The scripts read the version, `seen_at_ms`, lat and lng, and know no more of the layout.
# Version, seen_at_ms; lat, lng, ts, heading, speed, accuracy, of which the last three may be NaN,
# which is unknown.
_POSITION_LAYOUT = struct.Struct("<Bd6d")
# How such a line begins.
_HEAD_LAYOUT = struct.Struct("<B3d")
# Available, active, capacity; completion, rating and until_ms, NaN is unknown; recent_offers,
# cash_headroom_xaf. After them the vehicle, a zero byte and the name.
_FACTS_LAYOUT = struct.Struct("<BBB3dHI")
_BYTE_MAX = 0xFF
_OFFERS_MAX = 0xFFFF
_CASH_MAX = 0xFFFF_FFFF
_NAN = float("nan")

DutyStatus = Literal["off", "idle", "busy"]


class RiderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rider beside where he is; None is unknown.

    Units: percent, stars out of five, whole XAF he may still collect, offers of the last hour, Unix
    ms up to which he takes orders.
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
    # Facts change seldom and are written often.
    packed: bytes = b""

    @property
    def is_free(self) -> bool:
        """Whether he takes another delivery now."""
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
        words = f"{self.vehicle or ''}\0{self.name}".encode()
        msgspec.structs.force_setattr(self, "packed", numbers + words)


class IndexedRider(msgspec.Struct, frozen=True, kw_only=True):
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
    until_ms: int | None = None
    distance_km: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether he takes another delivery now, as far as the index knows."""
        return self.available and self.active < self.capacity

    @property
    def duty_status(self) -> DutyStatus:
        """Whether he takes orders or carries some, as operators see it."""
        if self.active:
            return "busy"
        return "idle" if self.available else "off"


def pack_rider(position: Position, facts: RiderFacts) -> bytes:
    """A rider's line in the index."""
    heading, speed, accuracy = position.heading, position.speed, position.accuracy
    where = _POSITION_LAYOUT.pack(
        LAYOUT_VERSION,
        position.received_at,
        position.lat,
        position.lng,
        position.ts,
        # In place: three calls would take as long as the rest.
        _NAN if heading is None else heading,
        _NAN if speed is None else speed,
        _NAN if accuracy is None else accuracy,
    )
    return where + facts.packed


def unpack_head(packed: bytes) -> tuple[float, float, float] | None:
    """When and where the rider of a line was seen; None where another version wrote it.

    Shapes: (seen_at_ms, lat, lng).
    Source: measured 2026-11-21, a tenth of what `unpack` takes; a search reads some hundred lines
    and wants the nearest.
    """
    version, seen_at_ms, lat, lng = _HEAD_LAYOUT.unpack_from(packed)
    return (seen_at_ms, lat, lng) if version == LAYOUT_VERSION else None


def unpack_rider(rider_id: str, packed: bytes, distance_km: float = 0.0) -> IndexedRider | None:
    """The rider of a line; None where another version of the server wrote it."""
    if packed[0] != LAYOUT_VERSION:
        return None
    _, seen_at_ms, lat, lng, ts, heading, speed, accuracy = _POSITION_LAYOUT.unpack_from(packed)
    who = _FACTS_LAYOUT.unpack_from(packed, _POSITION_LAYOUT.size)
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
        available=bool(who[0]),
        active=who[1],
        capacity=who[2],
        completion=_or_none(who[3]),
        rating=_or_none(who[4]),
        until_ms=None if (until_ms := _or_none(who[5])) is None else int(until_ms),
        recent_offers=who[6],
        cash_headroom_xaf=who[7],
        vehicle=vehicle or None,
        name=name,
        distance_km=distance_km,
    )


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value


def _or_none(value: float) -> float | None:
    # NaN alone differs from itself.
    return value if value == value else None  # noqa: PLR0124
