"""How many sockets each identity holds, counted over all nodes together."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from concurrency.request_batcher import Gather
from dispatch import keys, metrics
from dispatch.clock import SKEW_MS
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import PULSE_MS
from dispatch.keys import Identity
from dispatch.storage.pipeline import Command
from dispatch.storage.redis_client import Scripts

# Under this name the nodes of an identity hear, without a number, that a socket has to go.
ONE_TOO_MANY = "one_too_many"
# Source: an access token's hour; whoever stays longer is noted again when he comes again.
KEPT_MS = 24 * 3600_000
# Identities that wait to be judged; far more than hold too many sockets at once. One that finds no
# room is counted, and judged when its next socket comes.
CROWDED_MAX = 1_024
_ALONE = metrics.LIMITS_ALONE.labels("sockets")


class OneTooMany(msgspec.Struct):
    """The oldest socket of an identity that has too many."""

    sid: str


class Visits:
    """Notes who comes and goes; nobody waits for that, and nothing is decided by it but who leaves.

    Which sockets are too many is judged a little later: only those count together whose nodes have
    all reported since. The apps of a server that was killed are back elsewhere long before it is
    known to be dead, and counted twice they would push out a socket that lives.

    Where Redis is away each node counts by itself, and notes its sockets when it is back.
    """

    def __init__(
        self, together: Gather[Command, Any], scripts: Scripts, node: str, most: int
    ) -> None:
        self._together = together
        self._scripts = scripts
        self._node = node
        self._most = most
        # Who seems to hold too many sockets, and since when. Units: Unix milliseconds of Redis.
        self._crowded: dict[Identity, int] = {}

    def enter(self, owner: Identity, sid: str) -> None:
        """A socket is there, or still there.

        Redis: EVALSHA visit_enter, in the round trip of whoever asks in the same turn; idempotent.
        """
        sha, visit = self._scripts.sha("visit_enter"), f"{self._node} {sid}"
        enter = ("EVALSHA", sha, 1, keys.visits(owner), visit, self._most, KEPT_MS)
        self._ask(enter, owner, 0)

    def leave(self, owner: Identity, sid: str) -> None:
        """A socket has gone.

        Redis: ZREM, in the round trip of whoever asks in the same turn; idempotent.
        """
        self._tell(("ZREM", keys.visits(owner), f"{self._node} {sid}"))

    def judge(self, reports: Mapping[str, int]) -> None:
        """Tell the oldest of too many to go, as far as the nodes' last `reports` prove them.

        Units: Unix milliseconds.
        Redis: EVALSHA visit_judge for each identity that seems to hold too many, as above;
        atomic, idempotent.
        """
        sha = self._scripts.sha("visit_judge")
        latest_first = sorted(reports, key=reports.__getitem__, reverse=True)
        crowded, self._crowded = self._crowded, {}
        for owner, moment_ms in crowded.items():
            proven = sum(at_ms >= moment_ms + SKEW_MS for at_ms in reports.values())
            judge = (
                "EVALSHA", sha, 1, keys.visits(owner), keys.inbox_channel(owner), self._most,
                moment_ms, PULSE_MS, proven, *latest_first,
            )  # fmt: skip
            self._ask(judge, owner, moment_ms)

    def _ask(self, command: Command, owner: Identity, otherwise_ms: int) -> None:
        answer = self._tell(command)
        if answer is None:
            self._keep(owner, otherwise_ms)
        else:
            answer.add_done_callback(partial(self._answered, owner, otherwise_ms))

    def _answered(self, owner: Identity, otherwise_ms: int, answer: "asyncio.Future[Any]") -> None:
        if not answer.cancelled():
            self._keep(owner, otherwise_ms if answer.exception() else answer.result())

    def _keep(self, owner: Identity, moment_ms: int) -> None:
        """Judge the identity at the next look, where there is a moment to be judged."""
        if not moment_ms:
            return
        if len(self._crowded) >= CROWDED_MAX:
            _ALONE.inc()
        else:
            self._crowded.setdefault(owner, moment_ms)

    def _tell(self, command: Command) -> "asyncio.Future[Any] | None":
        try:
            answer = self._together.put(command)
        except StoreUnavailable:
            _ALONE.inc()
            return None
        answer.add_done_callback(_note)
        return answer


def _note(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled() and answer.exception() is not None:
        _ALONE.inc()
