"""Inboxes: the last events of each user, vendor and rider, numbered without gaps under an epoch.

The outbox appends events here; a channel notifies the nodes that hold the receiver's sockets. An
inbox starts a new epoch when its Redis was restarted or failed over, which may lose the last
second; clients of the old epoch get a resync (decision 8).
"""

from collections.abc import Sequence
from typing import NamedTuple

import uuid_utils

from dispatch import keys
from dispatch.keys import Identity
from dispatch.storage.command_batcher import batch_commands
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts

# Source: chosen; a client that was offline for longer, or missed more, fetches fresh snapshots. The
# head outlives the stream, so that such a client still learns that it missed events.
STREAM_TTL_MS = 15 * 60_000
STREAM_EVENTS_MAX = 1_000
HEAD_TTL_MS = 24 * 3600_000
# Connecting takes milliseconds, in which no identity gets more events than this.
RECENT_EVENTS_MAX = 64


class InboxMessage(NamedTuple):
    """One event for one inbox: its JSON object as `body`, and an id that makes a repeat harmless.

    A message that is not durable is only published, without a number, to the nodes that hold
    sockets of the identity; it is for the node itself, not for the client.
    """

    to: Identity
    event_id: str
    name: str
    body: str
    is_durable: bool = True


class InboxEntry(NamedTuple):
    """One event of an inbox; `seq` is 0 where it was not durable. Units: Unix milliseconds."""

    seq: int
    epoch: str
    ts_ms: int
    name: str
    body: bytes


class InboxHead(NamedTuple):
    """Epoch and last number of an inbox; an empty epoch means that this run of Redis has none."""

    epoch: str
    seq: int


class Inboxes:
    """Writes and reads inboxes.

    Errors: every method raises StoreUnavailable where Redis cannot answer.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._pipeline = Pipeline(clients.commands, scripts)
        self.batcher = batch_commands(self._pipeline)
        self._scripts = scripts

    async def append(self, messages: Sequence[InboxMessage], now_ms: int) -> None:
        """Append events to inboxes in the given order and publish them. Units: Unix ms.

        Redis: EVALSHA inbox_append each, one pipeline; idempotent by event id.
        """
        await self._pipeline.run([self._command(each, now_ms) for each in messages])

    def _command(self, message: InboxMessage, now_ms: int) -> Command:
        to = message.to
        if not message.is_durable:
            text = f"0\n\n{now_ms}\n{message.name}\n{message.body}"
            return ("SPUBLISH", keys.inbox_channel(to), text)
        script_keys = (keys.inbox_head(to), keys.inbox(to), keys.inbox_seen(to))
        return (
            "EVALSHA", self._scripts.sha("inbox_append"), len(script_keys), *script_keys,
            keys.inbox_channel(to), message.event_id, now_ms, uuid_utils.uuid7().hex,
            message.name, message.body, STREAM_EVENTS_MAX, STREAM_TTL_MS, HEAD_TTL_MS,
        )  # fmt: skip

    async def head(self, owner: Identity) -> InboxHead:
        """Epoch and last number of an inbox.

        Redis: EVALSHA inbox_read, one round trip, shared under load.
        """
        head, _ = await self._read(owner, "newest", 0)
        return head

    async def head_and_recent(
        self, owner: Identity, since_ms: int
    ) -> tuple[InboxHead, list[InboxEntry]]:
        """The head of an inbox, and its events since a time, oldest first. Units: Unix ms.

        For a client that connects without an epoch: events during its handshake must reach it.

        Redis: EVALSHA inbox_read, one round trip, shared under load.
        """
        head, entries = await self._read(owner, "newest", RECENT_EVENTS_MAX)
        return head, [entry for entry in entries if entry.ts_ms >= since_ms]

    async def events_after(self, owner: Identity, epoch: str, seq: int) -> list[InboxEntry] | None:
        """The events after `seq` of an epoch, oldest first, None where some are lost.

        Redis: EVALSHA inbox_read, one round trip, shared under load.
        """
        head, found = await self._read(owner, "after", seq)
        if head.epoch != epoch or head.seq < seq:
            return None
        is_complete = len(found) == head.seq - seq
        return found if is_complete else None

    async def _read(
        self, owner: Identity, which: str, bound: int
    ) -> tuple[InboxHead, list[InboxEntry]]:
        script_keys = (keys.inbox_head(owner), keys.inbox(owner))
        sha = self._scripts.sha("inbox_read")
        epoch, seq, rows = await self.batcher.request(
            ("EVALSHA", sha, len(script_keys), *script_keys, which, bound)
        )
        head = InboxHead(epoch.decode(), int(seq))
        return head, [_entry(head.epoch, row) for row in rows]


def parse_entry(message: bytes) -> InboxEntry:
    """An entry from a message of an inbox's channel, as `inbox_append.lua` publishes it."""
    seq, epoch, ts_ms, name, body = message.split(b"\n", 4)
    return InboxEntry(int(seq), epoch.decode(), int(ts_ms), name.decode(), body)


def _entry(epoch: str, row: tuple[bytes, list[bytes]]) -> InboxEntry:
    row_id, pairs = row
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    seq = int(row_id.split(b"-", 1)[0])
    return InboxEntry(seq, epoch, int(fields[b"t"]), fields[b"n"].decode(), fields[b"b"])
