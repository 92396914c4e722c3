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
