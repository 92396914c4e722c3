"""Per-identity inboxes: what each user, vendor and rider was told, numbered, for a while.

Step 5 of an order's way: outbox relays -> [here] numbers and keeps -> the edge's sockets.
An inbox lives no longer than the run of its Redis: one that was started anew, or took over, may
lack the last second, so it begins another epoch and everybody in the old one gets a resync.
"""

from collections.abc import Sequence
from typing import NamedTuple

import uuid_utils

from dispatch import keys
from dispatch.keys import Identity
from dispatch.storage.command_batcher import together
from dispatch.storage.pipeline import Bulk, Command
from dispatch.storage.redis_client import RedisClients, Scripts

# Source: reliability design, 15 minutes or 1,000 events; the head outlives the stream so that a
# client who comes later still learns that it missed something.
KEPT_MS = 15 * 60_000
KEPT_EVENTS = 1_000
HEAD_MS = 24 * 3600_000
# Connecting takes milliseconds; no identity is told more than this meanwhile.
OPENING_EVENTS = 64


class Letter(NamedTuple):
    """One event for one inbox; `body` is its JSON object, `event_id` makes repeating harmless.

    A letter that is not `kept` only reaches nodes that hold sockets of the identity now, without a
    number; it is meant for the node, not for the app.
    """

    to: Identity
    event_id: str
    name: str
    body: str
    kept: bool = True


class Entry(NamedTuple):
    """One event of an inbox; `seq` is 0 where it was not kept. Units: Unix milliseconds."""

    seq: int
    epoch: str
    ts_ms: int
    name: str
    body: bytes


class Head(NamedTuple):
    """Where an inbox stands; an empty epoch says that it does not exist in this run of Redis."""

    epoch: str
    seq: int


class Inboxes:
    """Writes and reads inboxes."""

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._bulk = Bulk(clients.commands, scripts)
        self.together = together(self._bulk)
        self._scripts = scripts

    async def append(self, letters: Sequence[Letter], now_ms: int) -> None:
        """Put events into inboxes in the given order, and tell the nodes that listen.

        Redis: EVALSHA inbox_append each, one pipeline; idempotent by event id.
        Errors: StoreUnavailable.
        """
        await self._bulk.run([self._command(each, now_ms) for each in letters])

    def _command(self, letter: Letter, now_ms: int) -> Command:
        to = letter.to
        if not letter.kept:
            news = f"0\n\n{now_ms}\n{letter.name}\n{letter.body}"
            return ("SPUBLISH", keys.inbox_channel(to), news)
        names = (keys.inbox_head(to), keys.inbox(to), keys.inbox_seen(to))
        return (
            "EVALSHA", self._scripts.sha("inbox_append"), len(names), *names,
            keys.inbox_channel(to), letter.event_id, now_ms, uuid_utils.uuid7().hex,
            letter.name, letter.body, KEPT_EVENTS, KEPT_MS, HEAD_MS,
        )  # fmt: skip

    async def head(self, owner: Identity) -> Head:
        """Where the inbox stands now.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, _ = await self._read(owner, "newest", 0)
        return head

    async def opening(self, owner: Identity, since_ms: int) -> tuple[Head, list[Entry]]:
        """Where the inbox stands, and the events that came in at or after a moment, oldest first.

        For an app that connects without a past: what is said while it connects must reach it.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, entries = await self._read(owner, "newest", OPENING_EVENTS)
        return head, [entry for entry in entries if entry.ts_ms >= since_ms]

    async def since(self, owner: Identity, epoch: str, seq: int) -> list[Entry] | None:
        """The events after `seq`, oldest first, or None where some of them are gone.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, found = await self._read(owner, "after", seq)
        if head.epoch != epoch or head.seq < seq:
            return None
        whole = len(found) == head.seq - seq
        return found if whole else None

    async def _read(self, owner: Identity, which: str, bound: int) -> tuple[Head, list[Entry]]:
        names = (keys.inbox_head(owner), keys.inbox(owner))
        sha = self._scripts.sha("inbox_read")
        epoch, seq, rows = await self.together.ask(
            ("EVALSHA", sha, len(names), *names, which, bound)
        )
        head = Head(epoch.decode(), int(seq))
        return head, [_entry(head.epoch, row) for row in rows]


def parse_news(message: bytes) -> Entry:
    """An entry out of what inbox_append publishes."""
    seq, epoch, ts_ms, name, body = message.split(b"\n", 4)
    return Entry(int(seq), epoch.decode(), int(ts_ms), name.decode(), body)


def _entry(epoch: str, row: tuple[bytes, list[bytes]]) -> Entry:
    row_id, pairs = row
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    seq = int(row_id.split(b"-", 1)[0])
    return Entry(seq, epoch, int(fields[b"t"]), fields[b"n"].decode(), fields[b"b"])
