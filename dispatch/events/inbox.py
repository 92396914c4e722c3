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
from dispatch.storage.command_batcher import batch_commands
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts

# Source: reliability design, 15 minutes or 1,000 events; the head outlives the stream so that a
# client who comes later still learns that it missed something.
STREAM_TTL_MS = 15 * 60_000
STREAM_EVENTS_MAX = 1_000
HEAD_TTL_MS = 24 * 3600_000
# Connecting takes milliseconds; no identity is told more than this meanwhile.
RECENT_EVENTS_MAX = 64


class InboxMessage(NamedTuple):
    """One event for one inbox; `body` is its JSON object, `event_id` makes repeating harmless.

    A letter that is not `kept` only reaches nodes that hold sockets of the identity now, without a
    number; it is meant for the node, not for the app.
    """

    to: Identity
    event_id: str
    name: str
    body: str
    is_durable: bool = True


class InboxEntry(NamedTuple):
    """One event of an inbox; `seq` is 0 where it was not kept. Units: Unix milliseconds."""

    seq: int
    epoch: str
    ts_ms: int
    name: str
    body: bytes


class InboxHead(NamedTuple):
    """Where an inbox stands; an empty epoch says that it does not exist in this run of Redis."""

    epoch: str
    seq: int


class Inboxes:
    """Writes and reads inboxes."""

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._pipeline = Pipeline(clients.commands, scripts)
        self.batcher = batch_commands(self._pipeline)
        self._scripts = scripts

    async def append(self, messages: Sequence[InboxMessage], now_ms: int) -> None:
        """Put events into inboxes in the given order, and tell the nodes that listen.

        Redis: EVALSHA inbox_append each, one pipeline; idempotent by event id.
        Errors: StoreUnavailable.
        """
        await self._pipeline.run([self._command(each, now_ms) for each in messages])

    def _command(self, message: InboxMessage, now_ms: int) -> Command:
        to = message.to
        if not message.is_durable:
            news = f"0\n\n{now_ms}\n{message.name}\n{message.body}"
            return ("SPUBLISH", keys.inbox_channel(to), news)
        names = (keys.inbox_head(to), keys.inbox(to), keys.inbox_seen(to))
        return (
            "EVALSHA", self._scripts.sha("inbox_append"), len(names), *names,
            keys.inbox_channel(to), message.event_id, now_ms, uuid_utils.uuid7().hex,
            message.name, message.body, STREAM_EVENTS_MAX, STREAM_TTL_MS, HEAD_TTL_MS,
        )  # fmt: skip

    async def head(self, owner: Identity) -> InboxHead:
        """Where the inbox stands now.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, _ = await self._read(owner, "newest", 0)
        return head

    async def head_and_recent(
        self, owner: Identity, since_ms: int
    ) -> tuple[InboxHead, list[InboxEntry]]:
        """Where the inbox stands, and the events that came in at or after a moment, oldest first.

        For an app that connects without a past: what is said while it connects must reach it.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, entries = await self._read(owner, "newest", RECENT_EVENTS_MAX)
        return head, [entry for entry in entries if entry.ts_ms >= since_ms]

    async def events_after(self, owner: Identity, epoch: str, seq: int) -> list[InboxEntry] | None:
        """The events after `seq`, oldest first, or None where some of them are gone.

        Redis: EVALSHA inbox_read, one round trip, shared where many ask.
        """
        head, found = await self._read(owner, "after", seq)
        if head.epoch != epoch or head.seq < seq:
            return None
        whole = len(found) == head.seq - seq
        return found if whole else None

    async def _read(
        self, owner: Identity, which: str, bound: int
    ) -> tuple[InboxHead, list[InboxEntry]]:
        names = (keys.inbox_head(owner), keys.inbox(owner))
        sha = self._scripts.sha("inbox_read")
        epoch, seq, rows = await self.batcher.request(
            ("EVALSHA", sha, len(names), *names, which, bound)
        )
        head = InboxHead(epoch.decode(), int(seq))
        return head, [_entry(head.epoch, row) for row in rows]


def parse_entry(message: bytes) -> InboxEntry:
    """An entry out of what inbox_append publishes."""
    seq, epoch, ts_ms, name, body = message.split(b"\n", 4)
    return InboxEntry(int(seq), epoch.decode(), int(ts_ms), name.decode(), body)


def _entry(epoch: str, row: tuple[bytes, list[bytes]]) -> InboxEntry:
    row_id, pairs = row
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    seq = int(row_id.split(b"-", 1)[0])
    return InboxEntry(seq, epoch, int(fields[b"t"]), fields[b"n"].decode(), fields[b"b"])
