"""How many sockets each identity holds, counted over all nodes together."""

import asyncio
from typing import Any

import msgspec

from dispatch import keys, metrics
from dispatch.errors import StoreUnavailable
from dispatch.keys import Identity
from dispatch.store.bulk import Command
from dispatch.store.connect import Scripts
from ledger.gather import Gather

# Under this name the nodes of an identity hear, without a number, that a socket has to go.
ONE_TOO_MANY = "one_too_many"
# Source: an access token's hour; whoever stays longer is noted again when he comes again.
KEPT_MS = 24 * 3600_000
_ALONE = metrics.LIMITS_ALONE.labels("sockets")


class OneTooMany(msgspec.Struct):
    """The oldest socket of an identity that has too many."""

    sid: str


class Visits:
    """Notes who comes and goes; nobody waits for that, and nothing is decided by it but who leaves.

    Where Redis is away each node counts by itself, and notes its sockets when it is back.
    """

    def __init__(
        self, together: Gather[Command, Any], scripts: Scripts, node: str, most: int
    ) -> None:
        self._together = together
        self._scripts = scripts
        self._node = node
        self._most = most
        # Nodes that have reported lately; empty until that is known.
        self.living: frozenset[str] = frozenset()

    def enter(self, owner: Identity, sid: str) -> None:
        """A socket is there, or still there; the oldest of too many is told to go.

        Redis: EVALSHA visit_enter, in the round trip of whoever asks in the same turn; idempotent.
        """
        living = sorted(self.living | {self._node}) if self.living else ()
        self._tell(
            (
                "EVALSHA", self._scripts.sha("visit_enter"), 1, keys.visits(owner),
                keys.inbox_channel(owner), f"{self._node} {sid}", self._most, KEPT_MS, *living,
            )
        )  # fmt: skip

    def leave(self, owner: Identity, sid: str) -> None:
        """A socket has gone.

        Redis: ZREM, in the round trip of whoever asks in the same turn; idempotent.
        """
        self._tell(("ZREM", keys.visits(owner), f"{self._node} {sid}"))

    def _tell(self, command: Command) -> None:
        try:
            self._together.put(command).add_done_callback(_note)
        except StoreUnavailable:
            _ALONE.inc()


def _note(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled() and answer.exception() is not None:
        _ALONE.inc()
