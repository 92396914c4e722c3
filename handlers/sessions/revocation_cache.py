"""Revocation cache: revoked tokens and barred identities in memory, refreshed from DynamoDB."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

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
from handlers.sessions.barred_identities import BarredIdentities

# Source: `docs/promises.md`, a socket is closed at most 5 s after its token was revoked. Redis
# announces a revocation at once; without Redis, two seconds of polling plus a read and a write of
# at most a second each stay within that.
REFRESH_EVERY_S = 2.0
# Each refresh reads again what this much time before the last one brought. Source: a transaction
# may take 5 s to become visible, and the clocks of two machines differ by less than that.
OVERLAP_MS = 10_000

log = structlog.get_logger(__name__)


class _Times(NamedTuple):
    """When a subject was revoked, and until when its tokens could be valid. Units: Unix ms."""

    revoked_at_ms: int
    until_ms: int


_NEVER = _Times(0, 0)


def _ignore_change() -> object:
    return None


class RevocationCache:
    """The revoked tokens, identities and sign-ins that may still matter.

    Until the first refresh succeeds no token counts as revoked: a process that cannot read the
    table serves no order anyway, and it closes the wrong sockets as soon as it can read.
    """

    def __init__(
        self,
        store: Revocations,
        pubsub: PubSub,
        clock: Clock,
        barred: BarredIdentities,
        refresh_every_s: float = REFRESH_EVERY_S,
    ) -> None:
        self._store = store
        self._pubsub = pubsub
        self._clock = clock
        self.barred = barred
        self._refresh_every_s = refresh_every_s
        self._revoked_by_subject: dict[str, _Times] = {}
        self._read_to_ms = 0
        self._refresh_requested = asyncio.Event()
        # Called after a refresh that found new revocations.
        self.on_revoked: Callable[[], object] = _ignore_change
        pubsub.on_gap(self._refresh_requested.set)

    def __len__(self) -> int:
        """How many subjects are held."""
        return len(self._revoked_by_subject)

    def is_revoked(self, principal: Principal) -> bool:
        """Tell whether the principal's token was revoked: itself, its sign-in, or its identity.

        Revoking an identity revokes the tokens issued until then. The `iat` claim has whole
        seconds, so a token issued within the same second counts as issued before.
        """
        if token_subject(principal.token_id) in self._revoked_by_subject:
            return True
        if (
            principal.sign_in is not None
            and sign_in_subject(principal.sign_in) in self._revoked_by_subject
        ):
            return True
        times = self._revoked_by_subject.get(identity_subject(principal.identity))
        return times is not None and principal.issued_at_ms <= times.revoked_at_ms

    def must_end(self, principal: Principal) -> bool:
        """Whether a socket must be closed: its token was revoked, or its identity barred."""
        return self.is_revoked(principal) or self.barred.standing_of(principal.identity) is not None

    async def refresh(self) -> None:
        """Read the revocations and changes of standing since the last refresh.

        Errors: StoreUnavailable.
        """
        now_ms = self._clock.now_ms()
        since_ms = max(now_ms - REVOCATION_TTL_MS, self._read_to_ms - OVERLAP_MS)
        has_new = await self.barred.refresh(since_ms)
        for each in await self._store.since(since_ms):
            before = self._revoked_by_subject.get(each.subject, _NEVER)
            after = _Times(
                max(before.revoked_at_ms, each.at_ms), max(before.until_ms, each.until_ms)
            )
            has_new = has_new or after != before
            self._revoked_by_subject[each.subject] = after
        self._read_to_ms = now_ms
        self._revoked_by_subject = {
            subject: times
            for subject, times in self._revoked_by_subject.items()
            if times.until_ms > now_ms
        }
        if has_new:
            log.info("tokens_revoked", revoked=len(self._revoked_by_subject))
            self.on_revoked()

    async def run(self) -> None:
        """Refresh on every announcement, and every two seconds; to be supervised."""
        with suppress(StoreUnavailable):
            # While Redis is away, the subscription is kept and takes effect once it is back.
            await self._pubsub.subscribe(
                keys.revoked_channel(), lambda _message: self._refresh_requested.set()
            )
        while True:
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.warning("revocations_not_read", cause=error.cause)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_every_s):
                    await self._refresh_requested.wait()
            self._refresh_requested.clear()
