"""Which tokens were recalled, in the memory of this process; sockets that had one are cut."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from dispatch import keys
from dispatch.accounts.revocations import (
    KEPT_MS,
    Revocations,
    of_identity,
    of_sign_in,
    of_token,
)
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.storage.pubsub import Feeds
from handlers.sessions.auth import Principal

# Source: promise, a socket is closed at most 5 s after its token was revoked; news come at once
# over Redis, and without it a look and a write of at most a second each are within the time.
LOOK_EVERY_S = 2.0
# Source: a transaction may take 5 s to be seen, and clocks of machines differ by less than that.
OVERLAP_MS = 10_000

log = structlog.get_logger(__name__)


def _nobody() -> object:
    return None


class Revoked:
    """The recalled tokens.

    A process that could not read them yet lets everybody in whose token is otherwise good, and
    parts with the wrong ones as soon as it could; without the table it serves no order anyway.
    """

    def __init__(self, store: Revocations, feeds: Feeds, clock: Clock) -> None:
        self._store = store
        self._feeds = feeds
        self._clock = clock
        # By subject: recalled when, and until when that matters.
        self._known: dict[str, tuple[int, int]] = {}
        self._read_to_ms = 0
        self._woken = asyncio.Event()
        # Told when something was recalled.
        self.on_news: Callable[[], object] = _nobody
        feeds.on_gap(self._woken.set)

    def holds(self, principal: Principal) -> bool:
        """Whether the token of a principal was recalled.

        All tokens of an identity: those issued until then. The claim has whole seconds; one that
        was issued in the same second counts as older.
        """
        if of_token(principal.token_id) in self._known:
            return True
        if principal.sign_in is not None and of_sign_in(principal.sign_in) in self._known:
            return True
        recalled = self._known.get(of_identity(principal.identity))
        return recalled is not None and principal.issued_at_ms <= recalled[0]

    async def look(self) -> None:
        """Read what is new. Errors: StoreUnavailable."""
        now_ms = self._clock.now_ms()
        since_ms = max(now_ms - KEPT_MS, self._read_to_ms - OVERLAP_MS)
        is_new = False
        for each in await self._store.since(since_ms):
            before = self._known.get(each.subject, (0, 0))
            after = (max(before[0], each.at_ms), max(before[1], each.until_ms))
            is_new = is_new or after != before
            self._known[each.subject] = after
        self._read_to_ms = now_ms
        self._known = {s: times for s, times in self._known.items() if times[1] > now_ms}
        if is_new:
            log.info("tokens_revoked", known=len(self._known))
            self.on_news()

    async def run(self) -> None:
        """Keep up for as long as the server runs; to be supervised."""
        with suppress(StoreUnavailable):
            # The listener joins as soon as Redis is back.
            await self._feeds.open(keys.revoked_channel(), lambda _news: self._woken.set())
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("revoked_not_read", cause=error.cause)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._woken.wait()
            self._woken.clear()
