"""Connection counts: the sockets of each identity over all nodes, and eviction of the excess."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from concurrency.request_batcher import RequestBatcher
from dispatch import keys, metrics
from dispatch.clock import SKEW_MS
from dispatch.errors import StoreUnavailable
from dispatch.events.node_reports import NODE_TIMEOUT_MS
from dispatch.keys import Identity
from dispatch.storage.pipeline import Command
from dispatch.storage.redis_client import Scripts

# Name of the message, published without a number, that tells the nodes which socket to close.
SOCKET_LIMIT_EXCEEDED = "socket_limit_exceeded"
# Time to live of an identity's set. Source: far above the hour that an access token lives; a socket
# that stays connected longer is added again at its next connect.
CONNECTIONS_TTL_MS = 24 * 3600_000
# Identities that wait for `evict_excess`; far more than exceed the limit at once. One above the
# bound is counted as unavailable, and checked again when it opens its next socket.
OVER_LIMIT_MAX = 1_024
_UNAVAILABLE = metrics.SHARED_LIMITS_UNAVAILABLE.labels("sockets")


class SocketLimitExceeded(msgspec.Struct):
    """The oldest socket of an identity that exceeds the limit; its node closes it."""

    sid: str


class ConnectionCounts:
    """Counts the sockets of identities in Redis without waiting, and evicts the oldest excess ones.

    Eviction comes about a second later, and counts only sockets whose nodes have reported since.
    The clients of a killed node reconnect elsewhere before the node is known to be dead; counted
    twice, they would evict live sockets.

    While Redis is unavailable each node limits its own sockets, and adds them when it is back.
    """

    def __init__(
        self,
        batcher: RequestBatcher[Command, Any],
        scripts: Scripts,
        node: str,
        sockets_max: int,
        over_limit_max: int = OVER_LIMIT_MAX,
    ) -> None:
        self._batcher = batcher
        self._scripts = scripts
        self._node = node
        self._sockets_max = sockets_max
        self._over_limit_max = over_limit_max
        # Identities that seem to exceed the limit, and since when. Units: Unix ms of Redis.
        self._over_limit: dict[Identity, int] = {}

    def add(self, owner: Identity, sid: str) -> None:
        """Add a socket of this node; one that is there already keeps its age.

        Redis: EVALSHA connection_add, in a shared round trip; idempotent.
        """
        sha, member = self._scripts.sha("connection_add"), f"{self._node} {sid}"
        key, sockets_max = keys.connections(owner), self._sockets_max
        command = ("EVALSHA", sha, 1, key, member, sockets_max, CONNECTIONS_TTL_MS)
        self._submit_check(command, owner, 0)

    def remove(self, owner: Identity, sid: str) -> None:
        """Remove a socket of this node.

        Redis: ZREM, in a shared round trip; idempotent.
        """
        self._submit(("ZREM", keys.connections(owner), f"{self._node} {sid}"))

    def evict_excess(self, reports: Mapping[str, int]) -> None:
        """Evict the oldest excess sockets, as far as the live nodes' last `reports` prove them.

        Units: Unix milliseconds, each by its node's clock.
        Redis: EVALSHA connection_evict for each identity that seems to exceed the limit, in a
        shared round trip; atomic, idempotent.
        """
        sha = self._scripts.sha("connection_evict")
        latest_first = sorted(reports, key=reports.__getitem__, reverse=True)
        over_limit, self._over_limit = self._over_limit, {}
        for owner, since_ms in over_limit.items():
            reported_since = sum(at_ms >= since_ms + SKEW_MS for at_ms in reports.values())
            command = (
                "EVALSHA",
                sha,
                1,
                keys.connections(owner),
                keys.inbox_channel(owner),
                self._sockets_max,
                since_ms,
                NODE_TIMEOUT_MS,
                reported_since,
                *latest_first,
            )
            self._submit_check(command, owner, since_ms)

    def _submit_check(self, command: Command, owner: Identity, fallback_ms: int) -> None:
        """Submit a command that returns since when the limit seems exceeded, 0 for not.

        `fallback_ms` takes its place where Redis does not answer.
        """
        reply = self._submit(command)
        if reply is None:
            self._mark_over_limit(owner, fallback_ms)
        else:
            reply.add_done_callback(partial(self._on_checked, owner, fallback_ms))

    def _on_checked(self, owner: Identity, fallback_ms: int, reply: "asyncio.Future[Any]") -> None:
        if not reply.cancelled():
            self._mark_over_limit(owner, fallback_ms if reply.exception() else reply.result())

    def _mark_over_limit(self, owner: Identity, since_ms: int) -> None:
        """Have the next `evict_excess` check the identity; 0 for one within its limit."""
        if not since_ms:
            return
        if len(self._over_limit) >= self._over_limit_max:
            _UNAVAILABLE.inc()
        else:
            self._over_limit.setdefault(owner, since_ms)

    def _submit(self, command: Command) -> "asyncio.Future[Any] | None":
        try:
            reply = self._batcher.submit(command)
        except StoreUnavailable:
            _UNAVAILABLE.inc()
            return None
        reply.add_done_callback(_count_failure)
        return reply


def _count_failure(reply: "asyncio.Future[Any]") -> None:
    if not reply.cancelled() and reply.exception() is not None:
        _UNAVAILABLE.inc()
