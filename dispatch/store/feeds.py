"""What this node listens to: one pub/sub connection, many channels, callbacks that never wait."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.asyncio.client import PubSub

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.store.connect import RedisClients, translate

Callback = Callable[[bytes], None]

# Source: promise, listeners are back within 2 s of Redis; a constant pause keeps that.
RECONNECT_S = 0.25
# A confirmation takes one round trip; without one for this long Redis is away.
CONFIRM_S = 2.0

log = structlog.get_logger(__name__)


class Feeds:
    """Subscriptions of this node, kept over reconnects.

    `on_gap` callbacks run after every reconnect: what was said meanwhile is lost here, and whoever
    listens must look it up.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._pubsub: PubSub = clients.listener.pubsub()
        self._callbacks: dict[str, list[Callback]] = {}
        self._gaps: list[Callable[[], None]] = []
        self._asked: dict[str, asyncio.Event] = {}
        # Channels that go with the next UNSUBSCRIBE.
        self._leaving: set[str] = set()
        self._any = asyncio.Event()
        self._lock = asyncio.Lock()

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Call back after every reconnect."""
        self._gaps.append(callback)

    async def open(self, channel: str, callback: Callback) -> None:
        """Listen to a channel; from the moment this returns nothing said there is missed.

        Redis: SUBSCRIBE for the first listener of this node, confirmed by Redis.
        Errors: StoreUnavailable; the listener is kept and joins at the next reconnect.
        """
        listeners = self._callbacks.setdefault(channel, [])
        listeners.append(callback)
        if len(listeners) == 1:
            self._asked[channel] = asyncio.Event()
            self._leaving.discard(channel)
            async with self._lock:
                with translate():
                    await self._pubsub.subscribe(channel)
            self._any.set()
        await self.confirmed(channel)

    async def confirmed(self, channel: str) -> None:
        """Return once Redis has confirmed a channel that somebody opened.

        Errors: StoreUnavailable.
        """
        if (asked := self._asked.get(channel)) is not None:
            await _within(asked)

    async def close(self, channel: str, callback: Callback) -> None:
        """Stop listening; the last listener of this node takes the subscription with him.

        Redis: one UNSUBSCRIBE for all who stop at about the same time; where somebody else is about
        to send it, this returns before it was sent. A Redis that is away has none to end.
        """
        listeners = self._callbacks.get(channel, [])
        with suppress(ValueError):
            listeners.remove(callback)
        if listeners or channel not in self._callbacks:
            return
        del self._callbacks[channel]
        self._confirm(channel)
        self._leaving.add(channel)
        if len(self._leaving) > 1:
            return
        async with self._lock:
            leaving, self._leaving = self._leaving, set()
            if leaving:
                with suppress(StoreUnavailable), translate():
                    await self._pubsub.unsubscribe(*leaving)

    async def run(self) -> None:
        """Hand messages to their callbacks, for as long as the server runs."""
        while True:
            await self._any.wait()
            try:
                await self._listen()
            except StoreUnavailable as error:
                log.warning("feeds_away", cause=error.cause)
                await self._reconnect()

    async def _listen(self) -> None:
        while True:
            if not self._pubsub.subscribed:
                self._any.clear()
                return
            with translate():
                message = await self._pubsub.get_message(timeout=None)
            if message is not None and message["type"] == "message":
                self._hand_over(message["channel"].decode(), message["data"])
            elif message is not None and message["type"] == "subscribe":
                self._confirm(message["channel"].decode())

    def _confirm(self, channel: str) -> None:
        if (asked := self._asked.pop(channel, None)) is not None:
            asked.set()

    def _hand_over(self, channel: str, data: bytes) -> None:
        metrics.FEED_MESSAGES.inc()
        for callback in tuple(self._callbacks.get(channel, ())):
            callback(data)

    async def _reconnect(self) -> None:
        while True:
            await asyncio.sleep(RECONNECT_S)
            try:
                async with self._lock:
                    with translate():
                        await self._pubsub.aclose()
                        if self._callbacks:
                            await self._pubsub.subscribe(*self._callbacks)
            except StoreUnavailable:
                continue
            break
        self._any.set()
        for callback in self._gaps:
            callback()


async def _within(confirmed: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(CONFIRM_S):
            await confirmed.wait()
    except TimeoutError as error:
        raise StoreUnavailable("redis", "a subscription was not confirmed") from error
