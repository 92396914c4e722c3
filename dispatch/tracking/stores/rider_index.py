"""Rider index: searches the geo index of riders in Redis, by circle, by box, or whole.

The index is sharded by H3 cell: the geo set of a cell holds its free riders, the hash beside it the
packed facts of all its riders. `positions` writes it. Source: decision 6.
"""

from collections.abc import Iterable

from dispatch import keys
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import Scripts
from dispatch.tracking.stores import geo_cells
from dispatch.tracking.stores.geo_cells import LAT_MAX, BoundingBox, Circle
from dispatch.tracking.stores.index_scan import IndexScan, in_pairs, keep_newest, unpack_riders
from dispatch.tracking.stores.rider_facts import IndexedRider, unpack_head, unpack_rider
from matching.geo import haversine_m

# A search begins with the radius that was enough at the last one around there and half as much
# again (twice the area); where that is not enough now, three times as wide (nine times the area).
# Source: bench/nearby.py, one search in 26 needs a second round trip.
RADIUS_MARGIN, RADIUS_GROWTH = 1.5, 3.0
# The radius of the first search around a place. Source: chosen, the radius of a first wave.
FIRST_RADIUS_KM = 1.5
SEARCH_RADII_MAX = 4_096


class RiderIndex:
    """Finds riders in the geo index.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(self, pipeline: Pipeline, scripts: Scripts, lost_ms: int) -> None:
        self._pipeline = pipeline
        self._scripts = scripts
        self._lost_ms = lost_ms
        # By (cell of the centre, size class of the limit).
        self._search_radii_km: dict[tuple[str, int], float] = {}

    async def find_nearest_free(
        self, circle: Circle, limit: int, now_ms: int, fresh_ms: int
    ) -> list[IndexedRider]:
        """The nearest riders that are free and fresh, at most `limit`, nearest first.

        The search begins with the radius that the last one around there has shown to be enough, so
        that a dense city costs no more than a handful of riders.

        Units: Unix milliseconds, milliseconds.
        Redis: one script for each cell that the circle touches, one round trip together; another
        one where riders have become scarcer.
        """
        assert limit >= 1
        # The limit differs from search to search by the open offers; a radius that was enough for
        # some riders is about enough for some more.
        place = (geo_cells.cell_of(circle.lat, circle.lng), limit.bit_length())
        radius_km = min(circle.radius_km, self._search_radii_km.get(place, FIRST_RADIUS_KM))
        while True:
            smaller = circle._replace(radius_km=radius_km)
            found = await self._search("index_nearest_free", smaller, limit, now_ms - fresh_ms)
            if len(found) >= limit or radius_km >= circle.radius_km:
                break
            radius_km = radius_km * RADIUS_GROWTH
            # The ring beyond it would not be worth a round trip of its own.
            if radius_km * RADIUS_GROWTH > circle.radius_km:
                radius_km = circle.radius_km
        if len(self._search_radii_km) >= SEARCH_RADII_MAX:
            self._search_radii_km.clear()
        is_enough = len(found) >= limit
        self._search_radii_km[place] = (
            found[-1].distance_km * RADIUS_MARGIN if is_enough else radius_km
        )
        return found

    async def find_nearest(self, circle: Circle, limit: int, now_ms: int) -> list[IndexedRider]:
        """The nearest riders that are not lost, free or not, at most `limit`, nearest first.

        Units: Unix milliseconds.
        Redis: one script for each cell that the circle touches, one round trip together.
        """
        assert limit >= 1
        return await self._search("index_nearest", circle, limit, now_ms - self._lost_ms)

    async def find_in_box(self, box: BoundingBox, since_ms: int) -> list[IndexedRider]:
        """The riders inside a map window that were seen since `since_ms`.

        Units: Unix milliseconds.
        Redis: HGETALL for each cell that the window touches, one round trip together; a second one
        before it where the window is wider than a city.
        """
        cells = geo_cells.cells_in_box(box)
        if cells is None:
            in_use = await read_cells_in_use(self._pipeline)
            cells = [cell for cell in in_use if geo_cells.touches_box(cell, box)]
        pages = await self._pipeline.run([("HGETALL", keys.riders_facts(cell)) for cell in cells])
        entries = (pair for page in pages for pair in in_pairs(page))
        return [
            rider
            for rider in keep_newest(unpack_riders(entries))
            if rider.seen_at_ms >= since_ms and box.contains(rider.lat, rider.lng)
        ]

    async def scan_all(self) -> IndexScan:
        """Every rider of the index, not decoded yet.

        Redis: HGETALL for each cell in use, one round trip after the one that lists the cells.
        """
        cells = await read_cells_in_use(self._pipeline)
        pages = await self._pipeline.run([("HGETALL", keys.riders_facts(cell)) for cell in cells])
        return IndexScan(tuple(pages))

    async def _search(
        self, script: str, circle: Circle, limit: int, since_ms: int
    ) -> list[IndexedRider]:
        circle = circle._replace(lat=max(-LAT_MAX, min(circle.lat, LAT_MAX)))
        cells = geo_cells.cells_in_circle(circle)
        if cells is None:
            in_use = await read_cells_in_use(self._pipeline)
            here = (circle.lat, circle.lng, circle.radius_km * 1000)
            cells = [cell for cell in in_use if geo_cells.touches_circle(cell, *here)]
        # Redis measures with another radius of the earth and on a grid of 0.6 m: it is asked for a
        # little more, and _nearest decides.
        reach_km = (
            circle.radius_km * geo_cells.RADIUS_SLACK_FACTOR + geo_cells.RADIUS_SLACK_M / 1000
        )
        arguments = (circle.lng, circle.lat, reach_km, limit, since_ms)
        sha = self._scripts.sha(script)
        replies = await self._pipeline.run([cell_script(sha, cell, *arguments) for cell in cells])
        return _nearest((pair for reply in replies for pair in in_pairs(reply)), circle, limit)


def cell_script(sha: str, cell: str, *arguments: str | bytes | float) -> Command:
    """The call of a script that works on the geo set and the facts of one cell."""
    return ("EVALSHA", sha, 2, keys.riders_geo(cell), keys.riders_facts(cell), *arguments)


async def read_cells_in_use(pipeline: Pipeline) -> dict[str, int]:
    """The cells that hold riders, or did not long ago, and when each was last written.

    Units: Unix milliseconds.
    Redis: ZRANGE WITHSCORES, one round trip.
    """
    [found] = await pipeline.run([("ZRANGE", keys.riders_cells(), 0, -1, "WITHSCORES")])
    return {cell.decode(): int(score) for cell, score in in_pairs(found)}


def _nearest(
    entries: Iterable[tuple[bytes, bytes]], circle: Circle, limit: int
) -> list[IndexedRider]:
    """The nearest riders of index entries inside the circle, each once, with their distance."""
    # Only those that are returned are decoded whole.
    heads: dict[bytes, tuple[float, float, float]] = {}
    packed_by_rider: dict[bytes, bytes] = {}
    for rider_id, packed in entries:
        head = unpack_head(packed)
        # After a reconnect elsewhere an older entry may be left in another cell.
        if head is not None and (rider_id not in heads or heads[rider_id][0] < head[0]):
            heads[rider_id], packed_by_rider[rider_id] = head, packed
    distances = (
        (haversine_m(circle.lat, circle.lng, lat, lng) / 1000, rider_id)
        for rider_id, (_, lat, lng) in heads.items()
    )
    nearest = sorted(each for each in distances if each[0] <= circle.radius_km)[:limit]
    found = (
        unpack_rider(rider_id.decode(), packed_by_rider[rider_id], km) for km, rider_id in nearest
    )
    return [rider for rider in found if rider is not None]
