"""Pub/sub: this node's channel subscriptions, with one connection to each Redis server.

Every channel is a sharded one: on a cluster only the server that holds it carries its messages.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import RedisServers, servers_of
from dispatch.storage.redis_client import RedisClients
from dispatch.storage.server_subscriptions import RECONNECT_S, ServerSubscriptions

# Called with each message of a channel; must not wait.
Callback = Callable[[bytes], None]


class PubSub:
    """Subscriptions of this node, restored after reconnects and moves within a cluster.

    Messages published while a connection is lost are not received. `on_gap` callbacks run after
    every reconnect, so that their owners can read what they may have missed.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._servers: RedisServers = servers_of(clients.listener)
        self.can_move = self._servers.can_move
        self._callbacks: dict[str, list[Callback]] = {}
        self._gap_callbacks: list[Callable[[], None]] = []
        # By the name of the server; and at which of them each channel is subscribed.
        self._by_server: dict[str, ServerSubscriptions] = {}
        self._by_channel: dict[str, ServerSubscriptions] = {}
        # Servers whose reading task `run` has not started yet.
        self._not_started: list[ServerSubscriptions] = []
        self._may_have_moved = False
        self._wake = asyncio.Event()

    @property
    def is_working(self) -> bool:
        """Whether messages arrive from every server at which this node is subscribed."""
        return not self._may_have_moved and all(
            each.is_working for each in self._by_server.values()
        )

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
                    subscriptions = self._not_started.pop()
                    group.create_task(subscriptions.run())
                    group.create_task(subscriptions.beat())
                if self._may_have_moved:
                    await self._relocate()
                await self._wake.wait()
                self._wake.clear()

    async def _subscriptions_for(self, channel: str) -> "ServerSubscriptions":
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
            subscriptions = ServerSubscriptions(self._servers, server, self)
            self._by_server[server] = subscriptions
            self._not_started.append(subscriptions)
            self._wake.set()
        self._by_channel[channel] = subscriptions
        return subscriptions

    async def _relocate(self) -> None:
        """Subscribe each channel at the server that holds it now."""
        self._may_have_moved = False
        with suppress(StoreUnavailable):
            await self._servers.refresh()
            if await self._subscribe_moved():
                self.report_gap()
            return
        await asyncio.sleep(RECONNECT_S)
        self._mark_moved()

    async def _subscribe_moved(self) -> bool:
        """Subscribe channels that have moved; whether there were any. Errors: StoreUnavailable."""
        moved: dict[ServerSubscriptions, list[str]] = {}
        for channel in list(self._callbacks):
            before = self._by_channel.get(channel)
            now = await self._subscriptions_for(channel)
            if channel not in self._callbacks:
                # Its last callback was removed while the server was looked up.
                self._by_channel.pop(channel, None)
            elif before is not now or channel not in now.channels:
                if before is not None and before is not now:
                    before.forget(channel)
                moved.setdefault(now, []).append(channel)
        # A server that cannot be reached holds up no other; it subscribes when it reconnects.
        results = await asyncio.gather(
            *(now.subscribe_all(channels) for now, channels in moved.items()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StoreUnavailable):
                raise result
        return bool(moved)

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
        """A lost connection was restored, or channels have moved."""
        for callback in self._gap_callbacks:
            callback()

    def report_move(self) -> None:
        """A server no longer holds a channel, or is unavailable: another one may hold it now."""
        if self.can_move:
            self._mark_moved()
