"""Position store: writes riders' positions to Redis; geo index, last fixes, trails, publishing.

The only writer of the geo index; `rider_index` searches it. Other nodes get the packets for their
watchers from `dispatch.storage.pubsub`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position, Presence, RiderPresence
from dispatch.storage.command_batcher import batch_commands
from dispatch.storage.pipeline import (
    PLACEHOLDER,
    Command,
    CommandTemplate,
    Pipeline,
)
from dispatch.storage.redis_client import Scripts
from dispatch.tracking.stores.rider_facts import RiderFacts, pack_rider
from dispatch.tracking.stores.rider_index import cell_script, read_cells_in_use

# A rider's last fix outlives a lost connection, a trail the day of its order. Source: chosen;
# docs/contract.md sends the last position with a snapshot.
FIX_TTL_S = 300
TRAIL_TTL_S = 24 * 3600
# Longer than any ride to a pickup, in which the engine asks for it.
PRESENCE_TTL_S = 3600
TRAIL_ENTRIES = 2_000
# A trail that is archived stays this long, for a reader that has just begun.
TRAIL_ARCHIVED_TTL_S = 600
# The time to live of a trail is renewed this often, not with every fix.
TRAIL_RENEW_MS = 3_600_000
RENEWED_TRAILS_MAX = 20_000
# Cells and riders of each cell that one sweep looks at.
SWEEP_CELLS = 64
SWEEP_RIDERS = 200

_ID_PLACEHOLDER = PLACEHOLDER.decode()
_SET_FIX = CommandTemplate(
    "SET", keys.rider_fix(RiderId(_ID_PLACEHOLDER)), PLACEHOLDER, "EX", FIX_TTL_S
)
_SET_PRESENCE = CommandTemplate(
    "SET", keys.rider_presence(RiderId(_ID_PLACEHOLDER)), PLACEHOLDER, "EX", PRESENCE_TTL_S
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
_presence_decoder = msgspec.json.Decoder(Presence)


class PositionUpdate(msgspec.Struct, frozen=True, gc=False):
    """A rider's newest position for Redis, with what goes with it.

    `cell` is None for a rider that the index must not have; `previous_cell` is the cell that had
    it, where it is another; `trail` the fixes of its orders; `packets` the packets for watchers of
    its orders on other nodes. Both by order id.
    """

    rider_id: str
    position: Position
    facts: RiderFacts
    cell: str | None
    previous_cell: str | None = None
    trail: Sequence[tuple[str, Position]] = ()
    packets: Sequence[tuple[str, bytes]] = ()


class IndexRemoval(NamedTuple):
    """A rider to be taken out of the index, unless that cell saw it after `seen_at_ms`.

    Units: Unix milliseconds.
    """

    rider_id: str
    cell: str
    seen_at_ms: int


class PresenceUpdate(NamedTuple):
    """When a rider with an order was last observed, where its last position is older than that."""

    rider_id: str
    presence: Presence


def encode_node_message(node: bytes, packet: bytes) -> bytes:
    """A packet as nodes publish it, with the node that has sent it to its own watchers.

    Shapes: node id, line feed, packet.
    """
    return node + b"\n" + packet


def decode_node_message(message: bytes) -> tuple[bytes, bytes]:
    """The node and the packet of a message between nodes."""
    node, _, packet = message.partition(b"\n")
    return node, packet


class _BatchCommands(NamedTuple):
    """The commands of a batch, where they publish, and the trails whose time to live they renew.

    Shapes: `published` (position in `commands`, order id); `renewed_at_ms` by order id.
    """

    commands: list[Command]
    published: list[tuple[int, str]]
    renewed_at_ms: dict[str, int]


class Positions:
    """Writes positions, and reads last fixes and trails.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(self, pipeline: Pipeline, scripts: Scripts, node: str, lost_ms: int) -> None:
        self._pipeline = pipeline
        self._command_batcher = batch_commands(pipeline)
        self._scripts = scripts
        message = encode_node_message(node.encode(), PLACEHOLDER)
        self._publish = CommandTemplate(
            "SPUBLISH", keys.order_positions(OrderId(_ID_PLACEHOLDER)), message
        )
        self._lost_ms = lost_ms
        self._trail_renewed_at_ms: dict[str, int] = {}
        # Where the next sweep goes on, by cell.
        self._sweep_cursors: dict[str, bytes] = {}
        self._last_swept_cell = ""

    async def put(
        self,
        batch: Sequence[PositionUpdate],
        removals: Sequence[IndexRemoval] = (),
        presences: Sequence[PresenceUpdate] = (),
    ) -> frozenset[str]:
        """Write a batch: index, last fixes, trails, presences, and packets for other nodes.

        The answer is the orders that have watchers on another node.
        Redis: one pipeline, one round trip; not atomic. Repeating it may double entries of a trail,
        which `read_trail` leaves out.
        """
        collected = _BatchCommands(
            [*_index_commands(batch), *(self._removal_command(each) for each in removals)], [], {}
        )
        for rider_id, presence in presences:
            collected.commands.append(_SET_PRESENCE.pack(rider_id.encode(), _encode(presence)))
        for update in batch:
            self._append_rider_commands(update, collected)
        replies = await self._pipeline.run(collected.commands)
        self._note_renewed_trails(collected.renewed_at_ms)
        # SPUBLISH answers how many subscribers have got it.
        return frozenset(order_id for at, order_id in collected.published if replies[at])

    async def last_position(self, rider_id: str) -> Position | None:
        """The last fix of a rider, None without one in the last five minutes.

        Redis: GET, one round trip, shared with concurrent callers.
        """
        raw = await self._command_batcher.request(("GET", keys.rider_fix(RiderId(rider_id))))
        return _position_decoder.decode(raw) if raw is not None else None

    async def presence(self, rider_id: str) -> RiderPresence:
        """A rider's last position, and when the server last observed the rider.

        Fixes that move nothing, commands and answers to pings count as observed. Of a rider with
        an order it is at most `rider_state.PRESENCE_EVERY_MS` and one sweep behind.

        Redis: MGET of keys of one rider, one round trip, shared with concurrent callers.
        """
        rider = RiderId(rider_id)
        fix, presence = await self._command_batcher.request(
            ("MGET", keys.rider_fix(rider), keys.rider_presence(rider))
        )
        return RiderPresence(
            position=None if fix is None else _position_decoder.decode(fix),
            last=None if presence is None else _presence_decoder.decode(presence),
        )

    async def read_trail(self, order_id: str, rider_id: str) -> list[Position]:
        """The fixes of one rider of an order, oldest first, each fix once.

        The trail of a reassigned order has the fixes of all its riders.
        Redis: XRANGE, one round trip.
        """
        [entries] = await self._pipeline.run(
            [("XRANGE", keys.order_trail(OrderId(order_id)), "-", "+")]
        )
        values = (value.split(b"\n", 1) for _, (_, value) in entries)
        fixes = (_position_decoder.decode(raw) for by, raw in values if by == rider_id.encode())
        once = {(fix.ts, fix.lat, fix.lng): fix for fix in fixes}
        return sorted(once.values(), key=lambda fix: (fix.ts, fix.received_at))

    async def expire_trail(self, order_id: str) -> None:
        """Expire a trail soon: it is archived.

        Redis: EXPIRE, one round trip; idempotent.
        """
        trail = keys.order_trail(OrderId(order_id))
        await self._pipeline.run([("EXPIRE", trail, TRAIL_ARCHIVED_TTL_S)])

    async def sweep(self, now_ms: int) -> int:
        """Take lost riders out of the index, a bounded number of cells; how many riders they were.

        Units: Unix milliseconds.
        Redis: the list of cells, a script for each of at most 64 of them, and one ZREM where cells
        are empty; idempotent.
        """
        in_use = await read_cells_in_use(self._pipeline)
        cells = self._next_cells(in_use)
        before_ms = now_ms - self._lost_ms
        sha = self._scripts.sha("index_sweep")
        replies = await self._pipeline.run(
            [
                cell_script(sha, cell, self._sweep_cursors.get(cell, b"0"), SWEEP_RIDERS, before_ms)
                for cell in cells
            ]
        )
        for cell, (cursor, _, _) in zip(cells, replies, strict=True):
            self._sweep_cursors[cell] = cursor
        await self._drop_cells(
            cell
            for cell, (_, _, left) in zip(cells, replies, strict=True)
            if left == 0 and in_use[cell] < before_ms
        )
        return sum(removed for _, removed, _ in replies)

    def _removal_command(self, removal: IndexRemoval) -> Command:
        sha = self._scripts.sha("index_remove")
        return cell_script(sha, removal.cell, removal.rider_id, removal.seen_at_ms)

    def _next_cells(self, cells_in_use: dict[str, int]) -> list[str]:
        """The cells after those of the last sweep, and from the first again."""
        ordered = sorted(cells_in_use)
        start = bisect_right(ordered, self._last_swept_cell)
        cells = (ordered[start:] + ordered[:start])[:SWEEP_CELLS]
        self._last_swept_cell = cells[-1] if cells else ""
        self._sweep_cursors = {
            cell: cursor for cell, cursor in self._sweep_cursors.items() if cell in cells_in_use
        }
        return cells

    async def _drop_cells(self, empty_cells: Iterable[str]) -> None:
        if unused := list(empty_cells):
            await self._pipeline.run([("ZREM", keys.riders_cells(), *unused)])

    def _append_rider_commands(self, update: PositionUpdate, batch: _BatchCommands) -> None:
        """Add the commands of one rider: last fix, trails and channels of its orders."""
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
        """Note the renewed trails; one that is forgotten is only renewed too often."""
        if len(self._trail_renewed_at_ms) > RENEWED_TRAILS_MAX:
            self._trail_renewed_at_ms.clear()
        self._trail_renewed_at_ms.update(renewed_at_ms)


def _index_commands(batch: Sequence[PositionUpdate]) -> Iterator[Command]:
    """The geo sets and facts of a batch, one command for each cell and kind."""
    entered, left = _group_by_cell(batch)
    for cell, updates in entered.items():
        facts, points, not_free = list[bytes](), list[bytes | float](), list[bytes]()
        for update in updates:
            rider, position, rider_facts = update.rider_id.encode(), update.position, update.facts
            facts += (rider, pack_rider(position, rider_facts))
            if rider_facts.is_free:
                points += (position.lng, position.lat, rider)
            else:
                not_free.append(rider)
        yield ("HSET", keys.riders_facts(cell), *facts)
        if points:
            yield ("GEOADD", keys.riders_geo(cell), *points)
        if not_free:
            yield ("ZREM", keys.riders_geo(cell), *not_free)
    for cell, rider_ids in left.items():
        yield ("ZREM", keys.riders_geo(cell), *rider_ids)
        yield ("HDEL", keys.riders_facts(cell), *rider_ids)
    if entered:
        newest = {cell: updates[-1].position.received_at for cell, updates in entered.items()}
        scores = ((written_ms, cell) for cell, written_ms in newest.items())
        yield ("ZADD", keys.riders_cells(), *chain.from_iterable(scores))


def _group_by_cell(
    batch: Sequence[PositionUpdate],
) -> tuple[dict[str, list[PositionUpdate]], dict[str, list[str]]]:
    """The updates of riders by the cell that they enter, and rider ids by the cell they leave."""
    entered: dict[str, list[PositionUpdate]] = {}
    left: dict[str, list[str]] = {}
    for update in batch:
        cell, previous = update.cell, update.previous_cell
        if cell is not None:
            entered.setdefault(cell, []).append(update)
        if previous is not None and previous != cell:
            left.setdefault(previous, []).append(update.rider_id)
    return entered, left
