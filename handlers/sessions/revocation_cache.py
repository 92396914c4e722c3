"""Which tokens were recalled, in the memory of this process; sockets that had one are cut."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from dispatch import keys
from dispatch.accounts.revocations import (
    REVOCATION_TTL_MS,
    Revocations,
    identity_subject,
    sign_in_subject,
    token_subject,
)
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.storage.pubsub import PubSub
from handlers.sessions.auth import Principal

# Source: promise, a socket is closed at most 5 s after its token was revoked; news come at once
# over Redis, and without it a look and a write of at most a second each are within the time.
REFRESH_EVERY_S = 2.0
# Source: a transaction may take 5 s to be seen, and clocks of machines differ by less than that.
OVERLAP_MS = 10_000

log = structlog.get_logger(__name__)


def _ignore_change() -> object:
    return None


class RevocationCache:
    """The recalled tokens.

    A process that could not read them yet lets everybody in whose token is otherwise good, and
    parts with the wrong ones as soon as it could; without the table it serves no order anyway.
    """

    def __init__(self, store: Revocations, pubsub: PubSub, clock: Clock) -> None:
        self._store = store
        self._pubsub = pubsub
        self._clock = clock
        # By subject: recalled when, and until when that matters.
        self._revoked_by_subject: dict[str, tuple[int, int]] = {}
        self._read_to_ms = 0
        self._refresh_requested = asyncio.Event()
        # Told when something was recalled.
        self.on_revoked: Callable[[], object] = _ignore_change
        pubsub.on_gap(self._refresh_requested.set)

    def is_revoked(self, principal: Principal) -> bool:
        """Whether the token of a principal was recalled.

        All tokens of an identity: those issued until then. The claim has whole seconds; one that
        was issued in the same second counts as older.
        """
        if token_subject(principal.token_id) in self._revoked_by_subject:
            return True
        if (
            principal.sign_in is not None
            and sign_in_subject(principal.sign_in) in self._revoked_by_subject
        ):
            return True
        recalled = self._revoked_by_subject.get(identity_subject(principal.identity))
        return recalled is not None and principal.issued_at_ms <= recalled[0]

    async def refresh(self) -> None:
        """Read what is new. Errors: StoreUnavailable."""
        now_ms = self._clock.now_ms()
        since_ms = max(now_ms - REVOCATION_TTL_MS, self._read_to_ms - OVERLAP_MS)
        is_new = False
        for each in await self._store.since(since_ms):
            before = self._revoked_by_subject.get(each.subject, (0, 0))
            after = (max(before[0], each.at_ms), max(before[1], each.until_ms))
            is_new = is_new or after != before
            self._revoked_by_subject[each.subject] = after
        self._read_to_ms = now_ms
        self._revoked_by_subject = {
            s: times for s, times in self._revoked_by_subject.items() if times[1] > now_ms
        }
        if is_new:
            log.info("tokens_revoked", known=len(self._revoked_by_subject))
            self.on_revoked()

    async def run(self) -> None:
        """Keep up for as long as the server runs; to be supervised."""
        with suppress(StoreUnavailable):
            # The listener joins as soon as Redis is back.
            await self._pubsub.subscribe(
                keys.revoked_channel(), lambda _news: self._refresh_requested.set()
            )
        while True:
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.warning("revoked_not_read", cause=error.cause)
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_EVERY_S):
                    await self._refresh_requested.wait()
            self._refresh_requested.clear()
