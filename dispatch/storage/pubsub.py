"""Pub/sub: this node's channel subscriptions, with one connection to each Redis server.

Every channel is a sharded one: on a cluster only the server that holds it carries its messages.
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

# Called with each message of a channel; must not wait.
Callback = Callable[[bytes], None]

# Pause between attempts to reconnect.
# Source: docs/promises.md, the first event comes at most 2 s after Redis is back; so no backoff.
RECONNECT_S = 0.25
# A confirmation takes one round trip; without one for this long Redis counts as unavailable.
CONFIRM_S = 2.0

# Source: measured 2026-11-21, a separate write for each channel costs 50 us of CPU here and as much
# at the server; some hundred clients that reconnect each second ask for a thousand channels.
SUBSCRIBE_LIMITS = BatcherLimits(
    concurrent_calls_max=1,
    batch_max=1_000,
    waiting_max=100_000,
    unbatched_per_s=500,
    unbatched_burst=32,
    linger_s=0.005,
)

# Errors of a cluster's server for a channel that it does not hold, or cannot serve now.
_REDIRECT_ERRORS = (AskError, ClusterDownError, TryAgainError)

log = structlog.get_logger(__name__)


class PubSub:
    """Subscriptions of this node, restored after reconnects and moves within a cluster.

    Messages published while a connection is lost are not received. `on_gap` callbacks run after
    every reconnect, so that their owners can read what they may have missed.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._servers: RedisServers = servers_of(clients.listener)
        self._callbacks: dict[str, list[Callback]] = {}
        self._gap_callbacks: list[Callable[[], None]] = []
        # By the name of the server; and at which of them each channel is subscribed.
        self._by_server: dict[str, _ServerSubscriptions] = {}
        self._by_channel: dict[str, _ServerSubscriptions] = {}
        # Servers whose reading task `run` has not started yet.
        self._not_started: list[_ServerSubscriptions] = []
        self._may_have_moved = False
        self._wake = asyncio.Event()

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after every reconnect."""
        self._gap_callbacks.append(callback)

    async def subscribe(self, channel: str, callback: Callback) -> None:
        """Subscribe to a channel; no message published after this returns is missed.

        Redis: SSUBSCRIBE for the first callback of this node; returns once it is confirmed.
        Errors: StoreUnavailable; the callback is kept, and subscribed at the next reconnect.
        """
        callbacks = self._callbacks.setdefault(channel, [])
        callbacks.append(callback)
        if len(callbacks) == 1:
            await (await self._subscriptions_for(channel)).subscribe(channel)
        await self.wait_subscribed(channel)

    async def wait_subscribed(self, channel: str) -> None:
        """Return once Redis has confirmed the subscription of a channel.

        Errors: StoreUnavailable.
        """
        if (subscriptions := self._by_channel.get(channel)) is not None:
            await subscriptions.wait_subscribed(channel)

    async def unsubscribe(self, channel: str, callback: Callback) -> None:
        """Remove a callback, and with the last one of a channel the subscription.

        Redis: one SUNSUBSCRIBE for each channel left at about the same time; where another caller
        is about to send it, this returns before. Nothing is sent while Redis is unavailable.
        """
        callbacks = self._callbacks.get(channel, [])
        with suppress(ValueError):
            callbacks.remove(callback)
        if callbacks or channel not in self._callbacks:
            return
        del self._callbacks[channel]
        if (subscriptions := self._by_channel.pop(channel, None)) is not None:
            await subscriptions.unsubscribe(channel)

    async def run(self) -> None:
        """Receive messages and call their callbacks, for as long as the server runs."""
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
        """The subscriptions at the server that holds a channel.

        Errors: StoreUnavailable where the server is not known.
        """
        try:
            server = await self._servers.server_for(channel)
        except StoreUnavailable:
            self._mark_moved()
            raise
        subscriptions = self._by_server.get(server)
        if subscriptions is None:
            connection = PubSubConnection(lambda: self._servers.make_connection(server))
            subscriptions = self._by_server[server] = _ServerSubscriptions(connection, self)
            self._not_started.append(subscriptions)
            self._wake.set()
        self._by_channel[channel] = subscriptions
        return subscriptions

    async def _relocate(self) -> None:
        """Subscribe each channel at the server that holds it now."""
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
        now = await self._subscriptions_for(channel)
        if channel not in self._callbacks:
            # Its last callback was removed while the server was looked up.
            self._by_channel.pop(channel, None)
        elif before is not now or channel not in now.channels:
            if before is not None and before is not now:
                before.forget(channel)
            await now.subscribe(channel)

    def _mark_moved(self) -> None:
        self._may_have_moved = True
        self._wake.set()

    # Called by the subscriptions of each server.

    def deliver(self, messages: list[tuple[str, bytes]]) -> None:
        """Call the callbacks of received messages. Shapes: (channel, data) each."""
        metrics.PUBSUB_MESSAGES.inc(len(messages))
        for channel, data in messages:
            for callback in tuple(self._callbacks.get(channel, ())):
                callback(data)

    def report_gap(self) -> None:
        """A lost connection was restored."""
        for callback in self._gap_callbacks:
            callback()

    def report_move(self) -> None:
        """A server no longer holds a channel, or is unavailable: another one may hold it now."""
        if self._servers.can_move:
            self._mark_moved()


class _ServerSubscriptions:
    """The channels subscribed at one server."""

    def __init__(self, connection: PubSubConnection, pubsub: PubSub) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self.channels: set[str] = set()
        self._unconfirmed: dict[str, asyncio.Event] = {}
        # Channels of the next SUNSUBSCRIBE, and those sent that are not confirmed yet.
        self._to_unsubscribe: set[str] = set()
        self._unsubscribing: Counter[str] = Counter()
        self._has_channels = asyncio.Event()
        self._lock = asyncio.Lock()
        self._subscribe_batcher: RequestBatcher[str, None] = RequestBatcher(
            self._send_subscribe, SUBSCRIBE_LIMITS, partial(StoreUnavailable, "redis")
        )

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel, in one write with others of about the same time.

        Errors: StoreUnavailable; it is subscribed at the next reconnect.
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
                # Without those that were unsubscribed meanwhile.
                elif wanted := [each for each in channels if each in self.channels]:
                    await self._connection.send("SSUBSCRIBE", wanted)
            finally:
                self._has_channels.set()
        return [None] * len(channels)

    async def wait_subscribed(self, channel: str) -> None:
        """Return once the server has confirmed a channel. Errors: StoreUnavailable."""
        if (confirmed := self._unconfirmed.get(channel)) is not None:
            await _wait_confirmed(confirmed)

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel, in one write with others of the same loop tick."""
        self.forget(channel)
        self._to_unsubscribe.add(channel)
        if len(self._to_unsubscribe) > 1:
            return
        # Channels unsubscribed in this tick of the loop go with it.
        await asyncio.sleep(0)
        async with self._lock:
            channels, self._to_unsubscribe = self._to_unsubscribe, set()
            if channels and self._connection.is_open:
                self._unsubscribing.update(channels)
                with suppress(StoreUnavailable):
                    await self._connection.send("SUNSUBSCRIBE", sorted(channels))

    def forget(self, channel: str) -> None:
        """The channel is no longer subscribed at this server."""
        self.channels.discard(channel)
        self._confirm(channel)

    async def run(self) -> None:
        """Read messages, for as long as the server runs."""
        while True:
            await self._has_channels.wait()
            try:
                while True:
                    self._handle_replies(await self._connection.read())
            except StoreUnavailable as error:
                log.warning("pubsub_unavailable", cause=error.cause)
                await self._reconnect()

    async def _connect(self) -> None:
        """Connect and subscribe to every channel. Errors: StoreUnavailable."""
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
        # No channel is left at this server.
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
            # Ended by the server: the channel's slot has moved to another one.
            self.channels.discard(channel)
            self._pubsub.report_move()

    def _handle_error(self, error: Exception) -> None:
        if not isinstance(error, _REDIRECT_ERRORS):
            raise error
        # The error does not name its channel: all unconfirmed ones are subscribed again.
        self.channels.difference_update(self._unconfirmed)
        self._pubsub.report_move()

    def _confirm(self, channel: str) -> None:
        if (confirmed := self._unconfirmed.pop(channel, None)) is not None:
            confirmed.set()


async def _wait_confirmed(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(CONFIRM_S):
            await event.wait()
    except TimeoutError as error:
        raise StoreUnavailable("redis", "a subscription was not confirmed") from error
