"""Subscriptions at one Redis server: subscribed together, restored when the connection was lost."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import structlog

from concurrency.request_batcher import BatcherLimits, RequestBatcher
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import RedisServers
from dispatch.storage.failover.heartbeat import Heartbeat
from dispatch.storage.failover.peer_errors import PeerFault, fault_of
from dispatch.storage.pubsub_connection import PubSubConnection
from dispatch.storage.redis_client import translate_redis_errors

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

log = structlog.get_logger(__name__)


class SubscriptionsOwner(Protocol):
    """What is told about one server's subscriptions."""

    # Whether another server can come to hold a channel.
    can_move: bool

    def deliver(self, messages: list[tuple[str, bytes]]) -> None:
        """Messages were received. Shapes: (channel, data) each."""
        ...

    def report_gap(self) -> None:
        """A lost connection was restored, or channels have moved."""
        ...

    def report_move(self) -> None:
        """A server no longer holds a channel, or is unavailable: another one may hold it now."""
        ...


class ServerSubscriptions:
    """The channels subscribed at one server."""

    def __init__(self, servers: RedisServers, server: str, owner: SubscriptionsOwner) -> None:
        self._connection = PubSubConnection(
            lambda: servers.make_connection(server),
            partial(servers.connections.note_error, server),
        )
        self._heartbeat = Heartbeat(servers, server, owner.report_move)
        self._owner = owner
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

    @property
    def is_working(self) -> bool:
        """Whether messages arrive, where any are wanted."""
        is_answered = self._connection.is_open and self._heartbeat.is_answered
        return is_answered or not self.channels

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel, in one write with others of about the same time.

        Errors: StoreUnavailable; it is subscribed at the next reconnect.
        """
        self.channels.add(channel)
        self._unconfirmed[channel] = asyncio.Event()
        self._to_unsubscribe.discard(channel)
        await self._subscribe_batcher.request(channel)

    async def subscribe_all(self, channels: Sequence[str]) -> None:
        """Subscribe to channels, in one write. Errors: as `subscribe`."""
        await asyncio.gather(*map(self.subscribe, channels))

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
                self._owner.report_move()
                await self._reconnect()

    async def beat(self) -> None:
        """See that messages arrive, for as long as the server runs."""
        await self._heartbeat.run(lambda: bool(self.channels) and self._connection.is_open)

    async def _connect(self) -> None:
        """Connect and subscribe to every channel. Errors: StoreUnavailable."""
        heartbeat_channel = await self._heartbeat.choose_channel()
        await self._connection.open()
        await self._connection.send("SSUBSCRIBE", [heartbeat_channel, *sorted(self.channels)])
        await self._heartbeat.connect()

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
                self._owner.report_move()
            else:
                self._owner.report_gap()
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
                if kind != b"smessage":
                    self._handle_confirmation(kind, channel.decode())
                elif (name := channel.decode()) == self._heartbeat.channel:
                    self._heartbeat.receive(data)
                else:
                    messages.append((name, data))
        if messages:
            self._owner.deliver(messages)

    def _handle_confirmation(self, kind: bytes, channel: str) -> None:
        if kind == b"ssubscribe":
            self._confirm(channel)
        elif channel == self._heartbeat.channel:
            # Its slot has moved: another channel of the server is needed.
            raise StoreUnavailable("redis", "the heartbeat's channel has moved")
        elif self._unsubscribing[channel] > 0:
            self._unsubscribing[channel] -= 1
        elif channel in self.channels:
            # Ended by the server: the channel's slot has moved to another one.
            self.channels.discard(channel)
            self._owner.report_move()

    def _handle_error(self, error: Exception) -> None:
        is_elsewhere = fault_of(error) in (PeerFault.MOVED, PeerFault.REFUSED)
        if not is_elsewhere or not self._owner.can_move:
            with translate_redis_errors():
                raise error
        # The error does not name its channel: all unconfirmed ones are subscribed again.
        self.channels.difference_update(self._unconfirmed)
        self._owner.report_move()

    def _confirm(self, channel: str) -> None:
        if (confirmed := self._unconfirmed.pop(channel, None)) is not None:
            confirmed.set()


async def _wait_confirmed(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(CONFIRM_S):
            await event.wait()
    except TimeoutError as error:
        raise StoreUnavailable("redis", "a subscription was not confirmed") from error
