"""Live positions in Redis: the riders' geo index with its facts, last fixes, trails, publishing.

Step 4 of a fix's way: tracking.drain → [here] → store.feeds of other nodes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position
from dispatch.storage.command_batcher import batch_commands
from dispatch.storage.pipeline import (
    PLACEHOLDER,
    Command,
    CommandTemplate,
    Pipeline,
)
from dispatch.storage.redis_client import Scripts
from dispatch.tracking.stores import geo_cells
from dispatch.tracking.stores.geo_cells import BoundingBox, Circle
from dispatch.tracking.stores.index_scan import IndexScan, in_pairs, keep_newest, unpack_riders
from dispatch.tracking.stores.rider_facts import (
    IndexedRider,
    RiderFacts,
    pack_rider,
    unpack_head,
    unpack_rider,
)
from matching.geo import haversine_m

# Source: wire contract and store design; a rider's last fix outlives a lost connection, a trail
# the day of its order.
FIX_TTL_S = 300
TRAIL_TTL_S = 24 * 3600
TRAIL_ENTRIES = 2_000
# One that is kept with its order; whoever is reading it may finish.
TRAIL_ARCHIVED_TTL_S = 600
# The time to live of a trail is set anew this often, not with every fix.
TRAIL_RENEW_MS = 3_600_000
RENEWED_TRAILS_MAX = 20_000
# Source: Web Mercator's square; beyond it Redis has no geohash.
LAT_MAX = 85.05112878
# A search begins with the circle that was enough at the last one around there and half as much
# again (twice the area); where that is not enough now, three times as wide (nine times the area).
# Source: bench/nearby.py, one search in 26 needs a second round trip.
RADIUS_MARGIN, RADIUS_GROWTH = 1.5, 3.0
# Source: matching design, the radius of the first wave.
FIRST_RADIUS_KM = 1.5
SEARCH_RADII_MAX = 4_096
# One sweep looks at most at so many cells and so many riders of each.
SWEEP_CELLS = 64
SWEEP_RIDERS = 200

_ID_PLACEHOLDER = PLACEHOLDER.decode()
_SET_FIX = CommandTemplate(
    "SET", keys.rider_fix(RiderId(_ID_PLACEHOLDER)), PLACEHOLDER, "EX", FIX_TTL_S
)
_ADD_TO_TRAIL = CommandTemplate(
    "XADD",
    keys.order_trail(OrderId(_ID_PLACEHOLDER)),
    "MAXLEN",
    "~",
    TRAIL_ENTRIES,
    "*",
    "fix",
    PLACEHOLDER,
)

_encode = msgspec.json.Encoder().encode
_position_decoder = msgspec.json.Decoder(Position)


class PositionUpdate(msgspec.Struct, frozen=True, gc=False):
    """A rider's newest position on its way to Redis, with what came with it.

    `cell` is None for one who is not to be found any more; `left` the cell he was in before, where
    it is another; `trail` the fixes of his orders; `packets` what the watchers of his orders on
    other nodes shall be told.
    """

    rider_id: str
    position: Position
    facts: RiderFacts
    cell: str | None
    previous_cell: str | None = None
    trail: Sequence[tuple[str, Position]] = ()
    packets: Sequence[tuple[str, bytes]] = ()


class IndexRemoval(NamedTuple):
    """A rider who leaves the index, unless he was seen in that cell after `seen_at_ms`."""

    rider_id: str
    cell: str
    seen_at_ms: int


def encode_node_message(node: bytes, packet: bytes) -> bytes:
    """A packet as it travels between nodes, with the node that has told its own watchers."""
    return node + b"\n" + packet


def decode_node_message(message: bytes) -> tuple[bytes, bytes]:
    """The node and the packet of a message between nodes."""
    node, _, packet = message.partition(b"\n")
    return node, packet


class _BatchCommands(NamedTuple):
    """The commands of a batch; which of them publish for which order; the trails kept anew.

    Shapes: (place in `commands`, order id); order id -> ms.
    """

    commands: list[Command]
    published: list[tuple[int, str]]
    renewed_at_ms: dict[str, int]


class Positions:
    """The only writer of the geo index.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, redis: Redis, scripts: Scripts, node: str, lost_ms: int) -> None:
        self._pipeline = Pipeline(redis, scripts)
        self._command_batcher = batch_commands(self._pipeline)
        self._scripts = scripts
        message = encode_node_message(node.encode(), PLACEHOLDER)
        self._publish = CommandTemplate(
            "SPUBLISH", keys.order_positions(OrderId(_ID_PLACEHOLDER)), message
        )
        self._lost_ms = lost_ms
        self._trail_renewed_at_ms: dict[str, int] = {}
        self._cursors: dict[str, bytes] = {}
        self._last_swept_cell = ""
        self._search_radii_km: dict[tuple[str, int], float] = {}

    async def put(
        self, batch: Sequence[PositionUpdate], removals: Sequence[IndexRemoval] = ()
    ) -> frozenset[str]:
        """Write a batch: index and facts, last fixes, trails, and tell the other nodes.

        The answer is the orders that another node follows: somebody there watches them.
        Redis: one pipeline, one round trip; not atomic. Repeating it may double lines of a trail,
        which its readers leave out.
        """
        said = _BatchCommands(
            [*_index_commands(batch), *(self._removal_command(each) for each in removals)], [], {}
        )
        for placed in batch:
            self._append_rider_commands(placed, said)
        answers = await self._pipeline.run(said.commands)
        self._note_renewed_trails(said.renewed_at_ms)
        # SPUBLISH answers how many have heard it.
        return frozenset(order_id for at, order_id in said.published if answers[at])

    async def find_nearest_free(
        self, circle: Circle, limit: int, now_ms: int, fresh_ms: int
    ) -> list[IndexedRider]:
        """The nearest riders who are available, free and fresh, at most `limit`, nearest first.

        Where riders abound the circle is drawn as small as the last search there has shown to be
        enough, so that a crowd costs no more than a handful.
        Redis: one script for each cell that the circle touches, one round trip together; another
        one where riders have become scarcer.
        """
        assert limit >= 1
        # How many are wanted differs from search to search by those who hold offers; what was
        # enough for some is about enough for some more.
        place = (geo_cells.cell_of(circle.lat, circle.lng), limit.bit_length())
        reach_km = min(circle.radius_km, self._search_radii_km.get(place, FIRST_RADIUS_KM))
        while True:
            smaller = circle._replace(radius_km=reach_km)
            found = await self._search("index_nearest_free", smaller, limit, now_ms - fresh_ms)
            if len(found) >= limit or reach_km >= circle.radius_km:
                break
            reach_km = reach_km * RADIUS_GROWTH
            # What is left beyond it would not be worth a round trip of its own.
            if reach_km * RADIUS_GROWTH > circle.radius_km:
                reach_km = circle.radius_km
        if len(self._search_radii_km) >= SEARCH_RADII_MAX:
            self._search_radii_km.clear()
        is_enough = len(found) >= limit
        self._search_radii_km[place] = (
            found[-1].distance_km * RADIUS_MARGIN if is_enough else reach_km
        )
        return found

    async def find_nearest(self, circle: Circle, limit: int, now_ms: int) -> list[IndexedRider]:
        """The nearest riders whatever they do, at most `limit`, nearest first; for operators.

        Redis: one script for each cell that the circle touches, one round trip together.
        """
        assert limit >= 1
        return await self._search("index_nearest", circle, limit, now_ms - self._lost_ms)

    async def find_in_box(self, box: BoundingBox, since_ms: int) -> list[IndexedRider]:
        """The riders inside a map window who were seen since a moment.

        Redis: HGETALL for each cell that the window touches, one round trip together; a second one
        before it where the window is wider than a city.
        """
        touched = geo_cells.cells_in_box(box)
        if touched is None:
            used = await self._cells_in_use()
            touched = [cell for cell in used if geo_cells.touches_box(cell, box)]
        pages = await self._pipeline.run([("HGETALL", keys.riders_facts(cell)) for cell in touched])
        lines = (pair for page in pages for pair in in_pairs(page))
        return [
            seen
            for seen in keep_newest(unpack_riders(lines))
            if seen.seen_at_ms >= since_ms and box.contains(seen.lat, seen.lng)
        ]

    async def scan_all(self) -> IndexScan:
        """Every rider of the index, not yet read.

        Redis: HGETALL for each cell in use, one round trip after that which names them.
        """
        used = await self._cells_in_use()
        pages = await self._pipeline.run([("HGETALL", keys.riders_facts(cell)) for cell in used])
        return IndexScan(tuple(pages))

    async def last_position(self, rider_id: str) -> Position | None:
        """The last fix of a rider, None where he did not report within five minutes.

        Redis: GET, one round trip, shared where many ask.
        """
        raw = await self._command_batcher.request(("GET", keys.rider_fix(RiderId(rider_id))))
        return _position_decoder.decode(raw) if raw is not None else None

    async def read_trail(self, order_id: str, rider_id: str) -> list[Position]:
        """The way of an order's rider, oldest first, each fix once.

        An order that went from hand to hand has the fixes of all; those of one are a way.
        Redis: XRANGE.
        """
        [entries] = await self._pipeline.run(
            [("XRANGE", keys.order_trail(OrderId(order_id)), "-", "+")]
        )
        lines = (line.split(b"\n", 1) for _, (_, line) in entries)
        fixes = (
            _position_decoder.decode(raw) for rider, raw in lines if rider == rider_id.encode()
        )
        once = {(fix.ts, fix.lat, fix.lng): fix for fix in fixes}
        return sorted(once.values(), key=lambda fix: (fix.ts, fix.received_at))

    async def expire_trail(self, order_id: str) -> None:
        """Let a trail that is kept elsewhere go soon.

        Redis: EXPIRE; idempotent.
        """
        trail = keys.order_trail(OrderId(order_id))
        await self._pipeline.run([("EXPIRE", trail, TRAIL_ARCHIVED_TTL_S)])

    async def remove(self, rider_id: str, cell: str, seen_at_ms: int) -> None:
        """Take a rider out of the index, unless he was seen in that cell after `seen_at_ms`.

        Redis: one script; idempotent.
        """
        await self._pipeline.run([self._removal_command(IndexRemoval(rider_id, cell, seen_at_ms))])

    def _removal_command(self, removal: IndexRemoval) -> Command:
        sha = self._scripts.sha("index_remove")
        return (*_cell_script(sha, removal.cell), removal.rider_id, removal.seen_at_ms)

    async def sweep(self, now_ms: int) -> int:
        """Take riders who are lost out of the index, a bounded number; how many they were.

        Redis: the list of cells, a script for each of at most 64 of them, and one ZREM where cells
        are found empty; harmless to repeat.
        """
        used = await self._cells_in_use()
        turn = self._next_cells(used)
        before_ms = now_ms - self._lost_ms
        sha = self._scripts.sha("index_sweep")
        answers = await self._pipeline.run(
            [
                (*_cell_script(sha, cell), self._cursors.get(cell, b"0"), SWEEP_RIDERS, before_ms)
                for cell in turn
            ]
        )
        for cell, (cursor, _, _) in zip(turn, answers, strict=True):
            self._cursors[cell] = cursor
        await self._drop_cells(
            cell
            for cell, (_, _, left) in zip(turn, answers, strict=True)
            if left == 0 and used[cell] < before_ms
        )
        return sum(removed for _, removed, _ in answers)

    def _next_cells(self, cells_in_use: dict[str, int]) -> list[str]:
        """The cells that come after those of the last sweep, and around again."""
        ordered = sorted(cells_in_use)
        start = bisect_right(ordered, self._last_swept_cell)
        turn = (ordered[start:] + ordered[:start])[:SWEEP_CELLS]
        self._last_swept_cell = turn[-1] if turn else ""
        self._cursors = {cell: at for cell, at in self._cursors.items() if cell in cells_in_use}
        return turn

    async def _drop_cells(self, empty_cells: Iterable[str]) -> None:
        if unused := list(empty_cells):
            await self._pipeline.run([("ZREM", keys.riders_cells(), *unused)])

    async def _cells_in_use(self) -> dict[str, int]:
        """Cells with riders, or with some not long ago, and when they were last written to."""
        [found] = await self._pipeline.run([("ZRANGE", keys.riders_cells(), 0, -1, "WITHSCORES")])
        return {cell.decode(): int(score) for cell, score in in_pairs(found)}

    async def _search(
        self, script: str, circle: Circle, limit: int, since_ms: int
    ) -> list[IndexedRider]:
        circle = circle._replace(lat=max(-LAT_MAX, min(circle.lat, LAT_MAX)))
        touched = geo_cells.cells_in_circle(circle)
        if touched is None:
            used = await self._cells_in_use()
            here = (circle.lat, circle.lng, circle.radius_km * 1000)
            touched = [cell for cell in used if geo_cells.touches_circle(cell, *here)]
        # What Redis measures differs by its radius of the earth and its 0.6 m grid; we decide.
        reach_km = (
            circle.radius_km * geo_cells.RADIUS_SLACK_FACTOR + geo_cells.RADIUS_SLACK_M / 1000
        )
        arguments = (circle.lng, circle.lat, reach_km, limit, since_ms)
        sha = self._scripts.sha(script)
        answers = await self._pipeline.run(
            [(*_cell_script(sha, cell), *arguments) for cell in touched]
        )
        return _nearest((pair for answer in answers for pair in in_pairs(answer)), circle, limit)

    def _append_rider_commands(self, update: PositionUpdate, batch: _BatchCommands) -> None:
        """What a rider has for himself: his last fix, the trails and channels of his orders."""
        commands = batch.commands
        newest, rider = _encode(update.position), update.rider_id.encode()
        commands.append(_SET_FIX.pack(rider, newest))
        for order_id, fix in update.trail:
            raw = newest if fix is update.position else _encode(fix)
            commands.append(_ADD_TO_TRAIL.pack(order_id.encode(), rider + b"\n" + raw))
            if self._trail_renewed_at_ms.get(order_id, 0) < fix.received_at - TRAIL_RENEW_MS:
                commands.append(("EXPIRE", keys.order_trail(OrderId(order_id)), TRAIL_TTL_S))
                batch.renewed_at_ms[order_id] = fix.received_at
        for order_id, packet in update.packets:
            batch.published.append((len(commands), order_id))
            commands.append(self._publish.pack(order_id.encode(), packet))

    def _note_renewed_trails(self, renewed_at_ms: Mapping[str, int]) -> None:
        """Note which trails have their time to live; those we forget are only renewed too often."""
        if len(self._trail_renewed_at_ms) > RENEWED_TRAILS_MAX:
            self._trail_renewed_at_ms.clear()
        self._trail_renewed_at_ms.update(renewed_at_ms)


def _cell_script(sha: str, cell: str) -> tuple[str | int, ...]:
    return ("EVALSHA", sha, 2, keys.riders_geo(cell), keys.riders_facts(cell))


def _index_commands(batch: Sequence[PositionUpdate]) -> Iterator[Command]:
    """The geo sets and facts of a batch, one command for each cell and kind."""
    entered, left = _group_by_cell(batch)
    for cell, riders in entered.items():
        facts, points, others = list[bytes](), list[bytes | float](), list[bytes]()
        for placed in riders:
            rider, position, known = placed.rider_id.encode(), placed.position, placed.facts
            facts += (rider, pack_rider(position, known))
            if known.is_free:
                points += (position.lng, position.lat, rider)
            else:
                others.append(rider)
        yield ("HSET", keys.riders_facts(cell), *facts)
        if points:
            yield ("GEOADD", keys.riders_geo(cell), *points)
        if others:
            yield ("ZREM", keys.riders_geo(cell), *others)
    for cell, rider_ids in left.items():
        yield ("ZREM", keys.riders_geo(cell), *rider_ids)
        yield ("HDEL", keys.riders_facts(cell), *rider_ids)
    if entered:
        newest = {cell: riders[-1].position.received_at for cell, riders in entered.items()}
        scores = ((written_ms, cell) for cell, written_ms in newest.items())
        yield ("ZADD", keys.riders_cells(), *chain.from_iterable(scores))


def _group_by_cell(
    batch: Sequence[PositionUpdate],
) -> tuple[dict[str, list[PositionUpdate]], dict[str, list[str]]]:
    """Who comes into which cell, and who leaves which."""
    entered: dict[str, list[PositionUpdate]] = {}
    left: dict[str, list[str]] = {}
    for placed in batch:
        cell, before = placed.cell, placed.previous_cell
        if cell is not None:
            entered.setdefault(cell, []).append(placed)
        if before is not None and before != cell:
            left.setdefault(before, []).append(placed.rider_id)
    return entered, left


def _nearest(
    lines: Iterable[tuple[bytes, bytes]], circle: Circle, limit: int
) -> list[IndexedRider]:
    """The nearest riders of lines that are inside the circle, each once, with their distance."""
    # Only those who are handed on are read whole.
    spots: dict[bytes, tuple[float, float, float]] = {}
    packed_of: dict[bytes, bytes] = {}
    for rider, packed in lines:
        seen = unpack_head(packed)
        # One who reconnected elsewhere may still stand in the cell he left.
        if seen is not None and (rider not in spots or spots[rider][0] < seen[0]):
            spots[rider], packed_of[rider] = seen, packed
    measured = (
        (haversine_m(circle.lat, circle.lng, lat, lng) / 1000, rider)
        for rider, (_, lat, lng) in spots.items()
    )
    nearest = sorted(each for each in measured if each[0] <= circle.radius_km)[:limit]
    found = (unpack_rider(rider.decode(), packed_of[rider], km) for km, rider in nearest)
    return [seen for seen in found if seen is not None]
