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

from concurrency.request_batcher import BatcherLimits, RequestBatcher
from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import RedisServers, servers_of
from dispatch.storage.pubsub_connection import PubSubConnection
from dispatch.storage.redis_client import RedisClients

Callback = Callable[[bytes], None]

# Source: promise, listeners are back within 2 s of Redis; a constant pause keeps that.
RECONNECT_S = 0.25
# A confirmation takes one round trip; without one for this long Redis is away.
CONFIRM_S = 2.0

# Source: measured 2026-11-21, a write of its own for each channel costs 50 us of CPU here and as
# much at the server; some hundred apps that come back each second ask for a thousand channels.
SUBSCRIBE_LIMITS = BatcherLimits(
    concurrent_calls_max=1,
    batch_max=1_000,
    waiting_max=100_000,
    unbatched_per_s=500,
    unbatched_burst=32,
    linger_s=0.005,
)

# What a server of a cluster says of a channel that it does not hold, or cannot serve now.
_REDIRECT_ERRORS = (AskError, ClusterDownError, TryAgainError)

log = structlog.get_logger(__name__)


class PubSub:
    """Subscriptions of this node, kept over reconnects and over moves within a cluster.

    `on_gap` callbacks run after every reconnect: what was said meanwhile is lost here, and whoever
    listens must look it up.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._servers: RedisServers = servers_of(clients.listener)
        self._callbacks: dict[str, list[Callback]] = {}
        self._gap_callbacks: list[Callable[[], None]] = []
        # By the name of the server, and which of them each channel is at.
        self._by_server: dict[str, _ServerSubscriptions] = {}
        self._by_channel: dict[str, _ServerSubscriptions] = {}
        # Servers whose feeds nobody runs yet; whether channels may have moved.
        self._not_started: list[_ServerSubscriptions] = []
        self._may_have_moved = False
        self._wake = asyncio.Event()

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call back after every reconnect."""
        self._gap_callbacks.append(callback)

    async def subscribe(self, channel: str, callback: Callback) -> None:
        """Listen to a channel; from the moment this returns nothing said there is missed.

        Redis: SSUBSCRIBE for the first listener of this node, confirmed by Redis.
        Errors: StoreUnavailable; the listener is kept and joins at the next reconnect.
        """
        listeners = self._callbacks.setdefault(channel, [])
        listeners.append(callback)
        if len(listeners) == 1:
            await (await self._subscriptions_for(channel)).subscribe(channel)
        await self.wait_subscribed(channel)

    async def wait_subscribed(self, channel: str) -> None:
        """Return once Redis has confirmed a channel that somebody opened.

        Errors: StoreUnavailable.
        """
        if (feed := self._by_channel.get(channel)) is not None:
            await feed.wait_subscribed(channel)

    async def unsubscribe(self, channel: str, callback: Callback) -> None:
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
        if (feed := self._by_channel.pop(channel, None)) is not None:
            await feed.unsubscribe(channel)

    async def run(self) -> None:
        """Hand messages to their callbacks, for as long as the server runs."""
        self._not_started = list(self._by_server.values())
        async with asyncio.TaskGroup() as group:
            while True:
                while self._not_started:
                    group.create_task(self._not_started.pop().run())
                if self._may_have_moved:
                    await self._relocate()
                await self._wake.wait()
                self._wake.clear()

    async def _subscriptions_for(self, channel: str) -> "_ServerSubscriptions":
        """The feed of the server that holds a channel.

        Errors: StoreUnavailable where that is not known.
        """
        try:
            name = await self._servers.server_for(channel)
        except StoreUnavailable:
            self._mark_moved()
            raise
        feed = self._by_server.get(name)
        if feed is None:
            line = PubSubConnection(lambda: self._servers.make_connection(name))
            feed = self._by_server[name] = _ServerSubscriptions(line, self)
            self._not_started.append(feed)
            self._wake.set()
        self._by_channel[channel] = feed
        return feed

    async def _relocate(self) -> None:
        """Let each channel be at the server that holds it now."""
        self._may_have_moved = False
        with suppress(StoreUnavailable):
            await self._servers.refresh()
            for channel in list(self._callbacks):
                await self._relocate_channel(channel)
            for callback in self._gap_callbacks:
                callback()
            return
        await asyncio.sleep(RECONNECT_S)
        self._mark_moved()

    async def _relocate_channel(self, channel: str) -> None:
        before = self._by_channel.get(channel)
        feed = await self._subscriptions_for(channel)
        if channel not in self._callbacks:
            # Its last listener went while we asked.
            self._by_channel.pop(channel, None)
        elif before is not feed or channel not in feed.channels:
            if before is not None and before is not feed:
                before.forget(channel)
            await feed.subscribe(channel)

    def _mark_moved(self) -> None:
        self._may_have_moved = True
        self._wake.set()

    # What a feed tells.

    def deliver(self, messages: list[tuple[str, bytes]]) -> None:
        """Messages came, as (channel, data)."""
        metrics.PUBSUB_MESSAGES.inc(len(messages))
        for channel, data in messages:
            for callback in tuple(self._callbacks.get(channel, ())):
                callback(data)

    def report_gap(self) -> None:
        """A connection was lost and is back."""
        for callback in self._gap_callbacks:
            callback()

    def report_move(self) -> None:
        """A server does not hold a channel, or does not answer: another one may hold it now."""
        if self._servers.can_move:
            self._mark_moved()


class _ServerSubscriptions:
    """What is listened to at one server."""

    def __init__(self, connection: PubSubConnection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self.channels: set[str] = set()
        self._unconfirmed: dict[str, asyncio.Event] = {}
        # Channels that go with the next SUNSUBSCRIBE, and those that went and are not confirmed.
        self._to_unsubscribe: set[str] = set()
        self._unsubscribing: Counter[str] = Counter()
        self._has_channels = asyncio.Event()
        self._lock = asyncio.Lock()
        self._subscribe_batcher: RequestBatcher[str, None] = RequestBatcher(
            self._send_subscribe, SUBSCRIBE_LIMITS, partial(StoreUnavailable, "redis")
        )

    async def subscribe(self, channel: str) -> None:
        """Ask to hear a channel, together with others that are asked for at about the same time.

        Errors: StoreUnavailable; it is asked for again.
        """
        self.channels.add(channel)
        self._unconfirmed[channel] = asyncio.Event()
        self._to_unsubscribe.discard(channel)
        await self._subscribe_batcher.request(channel)

    async def _send_subscribe(self, channels: Sequence[str]) -> list[None]:
        async with self._lock:
            try:
                if not self._connection.is_open:
                    await self._connect()
                # Those that were left again meanwhile are not wanted any more.
                elif wanted := [each for each in channels if each in self.channels]:
                    await self._connection.send("SSUBSCRIBE", wanted)
            finally:
                self._has_channels.set()
        return [None] * len(channels)

    async def wait_subscribed(self, channel: str) -> None:
        """Return once the server has confirmed a channel. Errors: StoreUnavailable."""
        if (asked := self._unconfirmed.get(channel)) is not None:
            await _wait_confirmed(asked)

    async def unsubscribe(self, channel: str) -> None:
        """Hear a channel no more."""
        self.forget(channel)
        self._to_unsubscribe.add(channel)
        if len(self._to_unsubscribe) > 1:
            return
        # Those who leave in this turn of the loop go along.
        await asyncio.sleep(0)
        async with self._lock:
            leaving, self._to_unsubscribe = self._to_unsubscribe, set()
            if leaving and self._connection.is_open:
                self._unsubscribing.update(leaving)
                with suppress(StoreUnavailable):
                    await self._connection.send("SUNSUBSCRIBE", sorted(leaving))

    def forget(self, channel: str) -> None:
        """The channel is not here any more."""
        self.channels.discard(channel)
        self._confirm(channel)

    async def run(self) -> None:
        """Listen, for as long as the server runs."""
        while True:
            await self._has_channels.wait()
            try:
                while True:
                    self._handle_replies(await self._connection.read())
            except StoreUnavailable as error:
                log.warning("feeds_away", cause=error.cause)
                await self._reconnect()

    async def _connect(self) -> None:
        """Connect and ask for everything. Errors: StoreUnavailable."""
        await self._connection.open()
        await self._connection.send("SSUBSCRIBE", sorted(self.channels))

    async def _reconnect(self) -> None:
        await self._connection.close()
        self._unsubscribing.clear()
        while self.channels:
            await asyncio.sleep(RECONNECT_S)
            try:
                async with self._lock:
                    if not self._connection.is_open:
                        await self._connect()
            except StoreUnavailable:
                self._pubsub.report_move()
            else:
                self._pubsub.report_gap()
                return
        # Whatever was heard here is heard from somewhere else.
        self._has_channels.clear()

    def _handle_replies(self, replies: list[Any]) -> None:
        messages: list[tuple[str, bytes]] = []
        for each in replies:
            if isinstance(each, Exception):
                self._handle_error(each)
            elif isinstance(each, list) and len(each) == 3:
                kind, channel, data = each
                if kind == b"smessage":
                    messages.append((channel.decode(), data))
                else:
                    self._handle_confirmation(kind, channel.decode())
        if messages:
            self._pubsub.deliver(messages)

    def _handle_confirmation(self, kind: bytes, channel: str) -> None:
        if kind == b"ssubscribe":
            self._confirm(channel)
        elif self._unsubscribing[channel] > 0:
            self._unsubscribing[channel] -= 1
        elif channel in self.channels:
            # Nobody asked for it: the channel's slot has gone to another server.
            self.channels.discard(channel)
            self._pubsub.report_move()

    def _handle_error(self, error: Exception) -> None:
        if not isinstance(error, _REDIRECT_ERRORS):
            raise error
        # Which channel it was is not said; those that are not confirmed are asked for again.
        self.channels.difference_update(self._unconfirmed)
        self._pubsub.report_move()

    def _confirm(self, channel: str) -> None:
        if (asked := self._unconfirmed.pop(channel, None)) is not None:
            asked.set()


async def _wait_confirmed(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(CONFIRM_S):
            await event.wait()
    except TimeoutError as error:
        raise StoreUnavailable("redis", "a subscription was not confirmed") from error
