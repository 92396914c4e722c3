"""Sign-ins: rotating refresh tokens, of which only the newest of each sign-in is valid."""

import msgspec

from dispatch.accounts.standing import StandingRules
from dispatch.accounts.store import Account, Login
from dispatch.clock import Clock
from dispatch.ids import new_id
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import (
    Check,
    Delete,
    Key,
    Put,
    Table,
    TransactionCancelled,
    Update,
)

# How long the token before the newest is still accepted, since the response with the newest may
# have been lost. Source: RFC 9700 section 4.14.2 asks for detection of reuse; a client retries
# within seconds.
GRACE_MS = 10_000
# Source: docs/contract.md, a token lives for at most 30 days; one day more is for clocks.
SIGN_IN_TTL_S = 31 * 86_400


class SignIn(Record, frozen=True):
    """One signed-in device. Units: Unix milliseconds."""

    sign_in_id: str
    user_id: str
    user_type: OwnerType
    phone: str
    started_at: int
    # How often it was renewed, and when last.
    generation: int = 0
    renewed_at: int = 0


class RefreshTokenReused(Exception):
    """An old refresh token was used: the client has one copy, and perhaps a thief another."""

    def __init__(self, sign_in: SignIn) -> None:
        super().__init__(sign_in.sign_in_id)
        self.sign_in = sign_in


class SignIns:
    """Starts, renews and ends sign-ins.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock, rules: StandingRules | None = None) -> None:
        self._table = RetryableTable(table)
        self._clock = clock
        self._rules = rules or StandingRules()

    async def begin(
        self, login: Login, account: Account, started_at_ms: int | None = None
    ) -> SignIn:
        """Start a sign-in of an authenticated account, now or at the moment after a recall.

        Units: Unix milliseconds.
        Errors: Refused NOT_APPROVED for one that is suspended or closed.
        DynamoDB: one transaction, with a Check of the standing.
        """
        now_ms = self._clock.now_ms() if started_at_ms is None else started_at_ms
        sign_in = SignIn(
            sign_in_id=new_id("sin"),
            user_id=account.user_id,
            user_type=account.user_type,
            phone=login.phone,
            started_at=now_ms,
            renewed_at=now_ms,
        )
        key = _key(sign_in.sign_in_id)
        # The generation is written although it has its default, for the condition of `renew`.
        item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(sign_in), "generation": 0}
        put = Put(item={**item, "ttl": now_ms // 1000 + SIGN_IN_TTL_S})
        try:
            admitted = self._rules.check_admitted(account.user_type, account.user_id)
            await self._table.transact([put, admitted])
        except TransactionCancelled as cancelled:
            raise self._rules.refusal(cancelled.reasons[1].item) from cancelled
        return sign_in

    async def renew(self, sign_in_id: str, generation: int) -> SignIn | None:
        """The sign-in with its next generation; None where it has ended.

        `generation` is that of the caller's token. The generation before the newest gets the
        newest again for ten seconds.

        Errors: RefreshTokenReused for an older one.
        DynamoDB: one GetItem and one transaction, which succeeds for one of several copies, and
        for none after the account's password has changed or its sign-ins were ended.
        """
        found = await self.find(sign_in_id)
        if found is None:
            return None
        if generation != found.generation:
            return await self._renew_in_grace(found, generation)
        now_ms = self._clock.now_ms()
        update = Update(
            key=_key(sign_in_id),
            expression="SET generation = :next, renewedAt = :now, #ttl = :ttl",
            condition="generation = :generation",
            names={"#ttl": "ttl"},
            values={
                ":next": generation + 1,
                ":now": now_ms,
                ":generation": generation,
                ":ttl": now_ms // 1000 + SIGN_IN_TTL_S,
            },
        )
        try:
            await self._table.transact([update, _check_account(found), self._check_admitted(found)])
        except TransactionCancelled as cancelled:
            if cancelled.failed_positions() != [0]:
                return None
            return await self._renew_after_race(sign_in_id, generation)
        return msgspec.structs.replace(found, generation=generation + 1, renewed_at=now_ms)

    async def find(self, sign_in_id: str) -> SignIn | None:
        """One sign-in, None where it has ended.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(_key(sign_in_id))
        return msgspec.convert(item, SignIn) if item else None

    async def end(self, sign_in_id: str) -> None:
        """End a sign-in: it cannot be renewed.

        DynamoDB: one DeleteItem; idempotent.
        """
        await self._table.transact([Delete(key=_key(sign_in_id))])

    async def _renew_after_race(self, sign_in_id: str, generation: int) -> SignIn | None:
        found = await self.find(sign_in_id)
        return None if found is None else await self._renew_in_grace(found, generation)

    async def _renew_in_grace(self, found: SignIn, generation: int) -> SignIn | None:
        if generation > found.generation:
            # Only in a table restored from a backup, which does not know the newest token.
            return None
        age_ms = self._clock.now_ms() - found.renewed_at
        if generation < found.generation - 1 or age_ms > GRACE_MS:
            raise RefreshTokenReused(found)
        try:
            await self._table.transact([_check_account(found), self._check_admitted(found)])
        except TransactionCancelled:
            return None
        return found

    def _check_admitted(self, sign_in: SignIn) -> Check:
        return self._rules.check_admitted(sign_in.user_type, sign_in.user_id, sign_in.started_at)


def _key(sign_in_id: str) -> Key:
    return Key(f"SIGNIN#{sign_in_id}", "SIGNIN")


def _check_account(sign_in: SignIn) -> Check:
    """A check that the account exists and its password has not changed since the sign-in."""
    return Check(
        key=Login(sign_in.user_type, sign_in.phone).key("ACCOUNT"),
        condition="sessionsValidFrom <= :started",
        values={":started": sign_in.started_at},
    )
