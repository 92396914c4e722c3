"""How many sockets each identity holds, counted over all nodes together."""

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

# Under this name the nodes of an identity hear, without a number, that a socket has to go.
SOCKET_LIMIT_EXCEEDED = "one_too_many"
# Source: an access token's hour; whoever stays longer is noted again when he comes again.
CONNECTIONS_TTL_MS = 24 * 3600_000
# Identities that wait to be judged; far more than hold too many sockets at once. One that finds no
# room is counted, and judged when its next socket comes.
OVER_LIMIT_MAX = 1_024
_UNAVAILABLE = metrics.SHARED_LIMITS_UNAVAILABLE.labels("sockets")


class SocketLimitExceeded(msgspec.Struct):
    """The oldest socket of an identity that has too many."""

    sid: str


class ConnectionCounts:
    """Notes who comes and goes; nobody waits for that, and nothing is decided by it but who leaves.

    Which sockets are too many is judged a little later: only those count together whose nodes have
    all reported since. The apps of a server that was killed are back elsewhere long before it is
    known to be dead, and counted twice they would push out a socket that lives.

    Where Redis is away each node counts by itself, and notes its sockets when it is back.
    """

    def __init__(
        self, batcher: RequestBatcher[Command, Any], scripts: Scripts, node: str, sockets_max: int
    ) -> None:
        self._batcher = batcher
        self._scripts = scripts
        self._node = node
        self._sockets_max = sockets_max
        # Who seems to hold too many sockets, and since when. Units: Unix milliseconds of Redis.
        self._over_limit: dict[Identity, int] = {}

    def add(self, owner: Identity, sid: str) -> None:
        """A socket is there, or still there.

        Redis: EVALSHA visit_enter, in the round trip of whoever asks in the same turn; idempotent.
        """
        sha, visit = self._scripts.sha("connection_add"), f"{self._node} {sid}"
        enter = (
            "EVALSHA",
            sha,
            1,
            keys.connections(owner),
            visit,
            self._sockets_max,
            CONNECTIONS_TTL_MS,
        )
        self._submit_check(enter, owner, 0)

    def remove(self, owner: Identity, sid: str) -> None:
        """A socket has gone.

        Redis: ZREM, in the round trip of whoever asks in the same turn; idempotent.
        """
        self._submit(("ZREM", keys.connections(owner), f"{self._node} {sid}"))

    def evict_excess(self, reports: Mapping[str, int]) -> None:
        """Tell the oldest of too many to go, as far as the nodes' last `reports` prove them.

        Units: Unix milliseconds.
        Redis: EVALSHA visit_judge for each identity that seems to hold too many, as above;
        atomic, idempotent.
        """
        sha = self._scripts.sha("connection_evict")
        latest_first = sorted(reports, key=reports.__getitem__, reverse=True)
        crowded, self._over_limit = self._over_limit, {}
        for owner, moment_ms in crowded.items():
            proven = sum(at_ms >= moment_ms + SKEW_MS for at_ms in reports.values())
            judge = (
                "EVALSHA",
                sha,
                1,
                keys.connections(owner),
                keys.inbox_channel(owner),
                self._sockets_max,
                moment_ms,
                NODE_TIMEOUT_MS,
                proven,
                *latest_first,
            )
            self._submit_check(judge, owner, moment_ms)

    def _submit_check(self, command: Command, owner: Identity, fallback_ms: int) -> None:
        answer = self._submit(command)
        if answer is None:
            self._mark_over_limit(owner, fallback_ms)
        else:
            answer.add_done_callback(partial(self._on_checked, owner, fallback_ms))

    def _on_checked(self, owner: Identity, fallback_ms: int, answer: "asyncio.Future[Any]") -> None:
        if not answer.cancelled():
            self._mark_over_limit(owner, fallback_ms if answer.exception() else answer.result())

    def _mark_over_limit(self, owner: Identity, moment_ms: int) -> None:
        """Judge the identity at the next look, where there is a moment to be judged."""
        if not moment_ms:
            return
        if len(self._over_limit) >= OVER_LIMIT_MAX:
            _UNAVAILABLE.inc()
        else:
            self._over_limit.setdefault(owner, moment_ms)

    def _submit(self, command: Command) -> "asyncio.Future[Any] | None":
        try:
            answer = self._batcher.submit(command)
        except StoreUnavailable:
            _UNAVAILABLE.inc()
            return None
        answer.add_done_callback(_count_failure)
        return answer


def _count_failure(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled() and answer.exception() is not None:
        _UNAVAILABLE.inc()
