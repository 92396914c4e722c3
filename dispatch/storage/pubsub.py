"""What this node listens to: a connection to each Redis, many channels, callbacks that never wait.

Every channel is a sharded one: on a cluster only the shard that holds it carries what is said.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from redis.exceptions import AskError, ClusterDownError, TryAgainError

from concurrency.request_batcher import Gather, Terms
from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import Servers, servers_of
from dispatch.storage.pubsub_connection import Line
from dispatch.storage.redis_client import RedisClients

Callback = Callable[[bytes], None]

# Source: promise, listeners are back within 2 s of Redis; a constant pause keeps that.
RECONNECT_S = 0.25
# A confirmation takes one round trip; without one for this long Redis is away.
CONFIRM_S = 2.0

# Source: measured 2026-11-21, a write of its own for each channel costs 50 us of CPU here and as
# much at the server; some hundred apps that come back each second ask for a thousand channels.
JOINING = Terms(
    calls_at_once=1,
    asked_max=1_000,
    waiting_max=100_000,
    free_per_s=500,
    free_at_once=32,
    linger_s=0.005,
)

# What a server of a cluster says of a channel that it does not hold, or cannot serve now.
_REDIRECTIONS = (AskError, ClusterDownError, TryAgainError)

log = structlog.get_logger(__name__)


class Feeds:
    """Subscriptions of this node, kept over reconnects and over moves within a cluster.

    `on_gap` callbacks run after every reconnect: what was said meanwhile is lost here, and whoever
    listens must look it up.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._servers: Servers = servers_of(clients.listener)
        self._callbacks: dict[str, list[Callback]] = {}
        self._gaps: list[Callable[[], None]] = []
        # By the name of the server, and which of them each channel is at.
        self._feeds: dict[str, _Feed] = {}
        self._at: dict[str, _Feed] = {}
        # Servers whose feeds nobody runs yet; whether channels may have moved.
        self._fresh: list[_Feed] = []
        self._is_doubtful = False
        self._wake = asyncio.Event()

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call back after every reconnect."""
        self._gaps.append(callback)

    async def open(self, channel: str, callback: Callback) -> None:
        """Listen to a channel; from the moment this returns nothing said there is missed.

        Redis: SSUBSCRIBE for the first listener of this node, confirmed by Redis.
        Errors: StoreUnavailable; the listener is kept and joins at the next reconnect.
        """
        listeners = self._callbacks.setdefault(channel, [])
        listeners.append(callback)
        if len(listeners) == 1:
            await (await self._feed_of(channel)).join(channel)
        await self.confirmed(channel)

    async def confirmed(self, channel: str) -> None:
        """Return once Redis has confirmed a channel that somebody opened.

        Errors: StoreUnavailable.
        """
        if (feed := self._at.get(channel)) is not None:
            await feed.confirmed(channel)

    async def close(self, channel: str, callback: Callback) -> None:
        """Stop listening; the last listener of this node takes the subscription with him.

        Redis: SUNSUBSCRIBE for all who stop at about the same time; where somebody else is about to
        send it, this returns before it was sent. A Redis that is away has none to end.
        """
        listeners = self._callbacks.get(channel, [])
        with suppress(ValueError):
            listeners.remove(callback)
        if listeners or channel not in self._callbacks:
            return
        del self._callbacks[channel]
        if (feed := self._at.pop(channel, None)) is not None:
            await feed.leave(channel)

    async def run(self) -> None:
        """Hand messages to their callbacks, for as long as the server runs."""
        self._fresh = list(self._feeds.values())
        async with asyncio.TaskGroup() as group:
            while True:
                while self._fresh:
                    group.create_task(self._fresh.pop().run())
                if self._is_doubtful:
                    await self._settle()
                await self._wake.wait()
                self._wake.clear()

    async def _feed_of(self, channel: str) -> "_Feed":
        """The feed of the server that holds a channel.

        Errors: StoreUnavailable where that is not known.
        """
        try:
            name = await self._servers.holder(channel)
        except StoreUnavailable:
            self._doubt()
            raise
        feed = self._feeds.get(name)
        if feed is None:
            line = Line(lambda: self._servers.dial(name))
            feed = self._feeds[name] = _Feed(line, self)
            self._fresh.append(feed)
            self._wake.set()
        self._at[channel] = feed
        return feed

    async def _settle(self) -> None:
        """Let each channel be at the server that holds it now."""
        self._is_doubtful = False
        with suppress(StoreUnavailable):
            await self._servers.look()
            for channel in list(self._callbacks):
                await self._settle_one(channel)
            for callback in self._gaps:
                callback()
            return
        await asyncio.sleep(RECONNECT_S)
        self._doubt()

    async def _settle_one(self, channel: str) -> None:
        before = self._at.get(channel)
        feed = await self._feed_of(channel)
        if channel not in self._callbacks:
            # Its last listener went while we asked.
            self._at.pop(channel, None)
        elif before is not feed or channel not in feed.channels:
            if before is not None and before is not feed:
                before.forget(channel)
            await feed.join(channel)

    def _doubt(self) -> None:
        self._is_doubtful = True
        self._wake.set()

    # What a feed tells.

    def heard(self, messages: list[tuple[str, bytes]]) -> None:
        """Messages came, as (channel, data)."""
        metrics.FEED_MESSAGES.inc(len(messages))
        for channel, data in messages:
            for callback in tuple(self._callbacks.get(channel, ())):
                callback(data)

    def mended(self) -> None:
        """A connection was lost and is back."""
        for callback in self._gaps:
            callback()

    def moved(self) -> None:
        """A server does not hold a channel, or does not answer: another one may hold it now."""
        if self._servers.can_move:
            self._doubt()


class _Feed:
    """What is listened to at one server."""

    def __init__(self, line: Line, owner: Feeds) -> None:
        self._line = line
        self._owner = owner
        self.channels: set[str] = set()
        self._asked: dict[str, asyncio.Event] = {}
        # Channels that go with the next SUNSUBSCRIBE, and those that went and are not confirmed.
        self._leaving: set[str] = set()
        self._parting: Counter[str] = Counter()
        self._any = asyncio.Event()
        self._lock = asyncio.Lock()
        self._joining: Gather[str, None] = Gather(
            self._join, JOINING, partial(StoreUnavailable, "redis")
        )

    async def join(self, channel: str) -> None:
        """Ask to hear a channel, together with others that are asked for at about the same time.

        Errors: StoreUnavailable; it is asked for again.
        """
        self.channels.add(channel)
        self._asked[channel] = asyncio.Event()
        self._leaving.discard(channel)
        await self._joining.ask(channel)

    async def _join(self, channels: Sequence[str]) -> list[None]:
        async with self._lock:
            try:
                if not self._line.is_open:
                    await self._open()
                # Those that were left again meanwhile are not wanted any more.
                elif wanted := [each for each in channels if each in self.channels]:
                    await self._line.say("SSUBSCRIBE", wanted)
            finally:
                self._any.set()
        return [None] * len(channels)

    async def confirmed(self, channel: str) -> None:
        """Return once the server has confirmed a channel. Errors: StoreUnavailable."""
        if (asked := self._asked.get(channel)) is not None:
            await _within(asked)

    async def leave(self, channel: str) -> None:
        """Hear a channel no more."""
        self.forget(channel)
        self._leaving.add(channel)
        if len(self._leaving) > 1:
            return
        # Those who leave in this turn of the loop go along.
        await asyncio.sleep(0)
        async with self._lock:
            leaving, self._leaving = self._leaving, set()
            if leaving and self._line.is_open:
                self._parting.update(leaving)
                with suppress(StoreUnavailable):
                    await self._line.say("SUNSUBSCRIBE", sorted(leaving))

    def forget(self, channel: str) -> None:
        """The channel is not here any more."""
        self.channels.discard(channel)
        self._confirm(channel)

    async def run(self) -> None:
        """Listen, for as long as the server runs."""
        while True:
            await self._any.wait()
            try:
                while True:
                    self._take(await self._line.hear())
            except StoreUnavailable as error:
                log.warning("feeds_away", cause=error.cause)
                await self._reconnect()

    async def _open(self) -> None:
        """Connect and ask for everything. Errors: StoreUnavailable."""
        await self._line.open()
        await self._line.say("SSUBSCRIBE", sorted(self.channels))

    async def _reconnect(self) -> None:
        await self._line.close()
        self._parting.clear()
        while self.channels:
            await asyncio.sleep(RECONNECT_S)
            try:
                async with self._lock:
                    if not self._line.is_open:
                        await self._open()
            except StoreUnavailable:
                self._owner.moved()
            else:
                self._owner.mended()
                return
        # Whatever was heard here is heard from somewhere else.
        self._any.clear()

    def _take(self, told: list[Any]) -> None:
        messages: list[tuple[str, bytes]] = []
        for each in told:
            if isinstance(each, Exception):
                self._complain(each)
            elif isinstance(each, list) and len(each) == 3:
                kind, channel, data = each
                if kind == b"smessage":
                    messages.append((channel.decode(), data))
                else:
                    self._note(kind, channel.decode())
        if messages:
            self._owner.heard(messages)

    def _note(self, kind: bytes, channel: str) -> None:
        if kind == b"ssubscribe":
            self._confirm(channel)
        elif self._parting[channel] > 0:
            self._parting[channel] -= 1
        elif channel in self.channels:
            # Nobody asked for it: the channel's slot has gone to another server.
            self.channels.discard(channel)
            self._owner.moved()

    def _complain(self, error: Exception) -> None:
        if not isinstance(error, _REDIRECTIONS):
            raise error
        # Which channel it was is not said; those that are not confirmed are asked for again.
        self.channels.difference_update(self._asked)
        self._owner.moved()

    def _confirm(self, channel: str) -> None:
        if (asked := self._asked.pop(channel, None)) is not None:
            asked.set()


async def _within(confirmed: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(CONFIRM_S):
            await confirmed.wait()
    except TimeoutError as error:
        raise StoreUnavailable("redis", "a subscription was not confirmed") from error
