"""Per-identity inboxes: what each user, vendor and rider was told, numbered, for a while.

Step 5 of an order's way: outbox relays -> [here] numbers and keeps -> the edge's sockets.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import uuid_utils
from redis.exceptions import NoScriptError

from dispatch import keys
from dispatch.keys import Identity
from dispatch.store.connect import RedisClients, Scripts, translate

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
    """Where an inbox stands; an empty epoch says that it does not exist yet."""

    epoch: str
    seq: int


class Inboxes:
    """Writes and reads inboxes."""

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._scripts = scripts

    async def append(self, letters: Sequence[Letter], now_ms: int) -> None:
        """Put events into inboxes in the given order, and tell the nodes that listen.

        Redis: EVALSHA inbox_append each, one pipeline; idempotent by event id.
        Errors: StoreUnavailable.
        """
        if not letters:
            return
        try:
            await self._append(letters, now_ms)
        except NoScriptError:
            # The server has forgotten its scripts; what went through before is known by its id.
            await self._scripts.load()
            await self._append(letters, now_ms)

    async def _append(self, letters: Sequence[Letter], now_ms: int) -> None:
        sha = self._scripts.sha("inbox_append")
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                for letter in letters:
                    to = letter.to
                    if not letter.kept:
                        news = f"0\n\n{now_ms}\n{letter.name}\n{letter.body}"
                        pipe.publish(keys.inbox_channel(to), news)
                        continue
                    names = (keys.inbox_head(to), keys.inbox(to), keys.inbox_seen(to))
                    fresh_epoch = uuid_utils.uuid7().hex
                    pipe.evalsha(
                        sha, len(names), *names, keys.inbox_channel(to), letter.event_id,
                        now_ms, fresh_epoch, letter.name, letter.body,
                        KEPT_EVENTS, KEPT_MS, HEAD_MS,
                    )  # fmt: skip
                await pipe.execute()

    async def head(self, owner: Identity) -> Head:
        """Where the inbox stands now.

        Redis: HMGET, one round trip.
        """
        with translate():
            row = await self._redis.hmget(keys.inbox_head(owner), ["epoch", "seq"])
        epoch, seq = cast("list[bytes | None]", row)
        return Head((epoch or b"").decode(), int(seq or 0))

    async def opening(self, owner: Identity, since_ms: int) -> tuple[Head, list[Entry]]:
        """Where the inbox stands, and the events that came in at or after a moment, oldest first.

        For an app that connects without a past: what is said while it connects must reach it.

        Redis: HMGET and XREVRANGE in one transaction, one round trip.
        """
        with translate():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(keys.inbox_head(owner), ["epoch", "seq"])
                pipe.xrevrange(keys.inbox(owner), count=OPENING_EVENTS)
                (epoch, seq), rows = await pipe.execute()
        head = Head((epoch or b"").decode(), int(seq or 0))
        entries = [_entry(head.epoch, row) for row in reversed(rows)]
        return head, [entry for entry in entries if entry.ts_ms >= since_ms]

    async def since(self, owner: Identity, epoch: str, seq: int) -> list[Entry] | None:
        """The events after `seq`, oldest first, or None where some of them are gone.

        Redis: HMGET and XRANGE in one transaction, one round trip.
        """
        with translate():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hmget(keys.inbox_head(owner), ["epoch", "seq"])
                pipe.xrange(keys.inbox(owner), min=f"{seq + 1}-0", max="+")
                (now_epoch, now_seq), rows = await pipe.execute()
        if now_epoch is None or now_epoch.decode() != epoch or int(now_seq) < seq:
            return None
        found = [_entry(epoch, row) for row in rows]
        whole = len(found) == int(now_seq) - seq
        return found if whole else None


def parse_news(message: bytes) -> Entry:
    """An entry out of what inbox_append publishes."""
    seq, epoch, ts_ms, name, body = message.split(b"\n", 4)
    return Entry(int(seq), epoch.decode(), int(ts_ms), name.decode(), body)


def _entry(epoch: str, row: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    row_id, fields = row
    seq = int(row_id.split(b"-", 1)[0])
    return Entry(seq, epoch, int(fields[b"t"]), fields[b"n"].decode(), fields[b"b"])
