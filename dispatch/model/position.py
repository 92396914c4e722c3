"""Positions of riders, and the trail of one order's delivery."""

from dispatch.model.record import Record


class Position(Record, frozen=True, gc=False):
    """Where a rider was, as its device reported it and the checks accepted it; None is unknown.

    Units: degrees WGS 84, degrees from north, metres per second, metres, Unix milliseconds.
    `ts` is the device's time, never later than `received_at`, which is the server's.
    """

    lat: float
    lng: float
    ts: int
    received_at: int
    heading: float | None = None
    speed: float | None = None
    accuracy: float | None = None
    seq: int | None = None


class Presence(Record, frozen=True, gc=False):
    """What the server itself last observed of a rider, whatever its positions are worth.

    `seen_at` is when anything came from one of the rider's sockets: a fix, used or not, a command,
    an acknowledgement, the answer to a ping. `dropped` counts the fixes since the last accepted
    one by the reason why they were not used, `accuracy` is the accuracy of the last of them.

    Units: Unix milliseconds of the server; metres.
    """

    seen_at: int
    dropped: dict[str, int] = {}
    accuracy: float | None = None


class RiderPresence(Record, frozen=True, gc=False):
    """What is stored of a rider: its last position, and what was observed after it.

    `seen_at` decides whether a rider is silent; the position decides only where it is.

    Units: Unix milliseconds of the server, 0 where nothing is stored.
    """

    position: Position | None = None
    last: Presence | None = None

    @property
    def seen_at(self) -> int:
        """When the server last observed the rider."""
        seen_at = self.position.received_at if self.position else 0
        return max(seen_at, self.last.seen_at) if self.last else seen_at


class Trail(Record, frozen=True):
    """The simplified route of an order's rider. Units: metres along it, Unix milliseconds.

    `polyline` has `points` points; with none, no position was reported.
    """

    rider_id: str
    polyline: str = ""
    points: int = 0
    distance_m: int = 0
    from_ms: int | None = None
    to_ms: int | None = None
