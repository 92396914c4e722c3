"""Sign-ins: each a row of refresh tokens of which only the newest is good."""

import msgspec

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

# How long the token before the newest is good: the answer that held the newest may have been lost
# on its way. Source: RFC 9700 section 4.14.2 asks for detection of reuse; a phone tries again
# within seconds.
GRACE_MS = 10_000
SIGN_IN_TTL_S = 31 * 86_400


class SignIn(Record, frozen=True):
    """One phone that has signed in. Units: Unix milliseconds."""

    sign_in_id: str
    user_id: str
    user_type: OwnerType
    phone: str
    since: int
    # How often it was renewed, and when for the last time.
    turn: int = 0
    turned_at: int = 0


class RefreshTokenReused(Exception):
    """A refresh token came twice: the app has one, and a thief the other."""

    def __init__(self, sign_in: SignIn) -> None:
        super().__init__(sign_in.sign_in_id)
        self.sign_in = sign_in


class SignIns:
    """Begins, renews and ends sign-ins.

    Errors: every method raises StoreUnavailable where DynamoDB is away.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def begin(self, login: Login, account: Account) -> SignIn:
        """Somebody has shown who he is.

        DynamoDB: one PutItem.
        """
        now_ms = self._clock.now_ms()
        begun = SignIn(
            sign_in_id=new_id("sin"),
            user_id=account.user_id,
            user_type=account.user_type,
            phone=login.phone,
            since=now_ms,
            turned_at=now_ms,
        )
        key = _key(begun.sign_in_id)
        item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(begun), "turn": 0}
        await self._table.transact([Put(item={**item, "ttl": now_ms // 1000 + SIGN_IN_TTL_S})])
        return begun

    async def renew(self, sign_in_id: str, turn: int) -> SignIn | None:
        """The next turn of a sign-in; None where it is over.

        The token before the newest gets the newest again for ten seconds.

        Errors: Reused for an older one.
        DynamoDB: one GetItem and one transaction, which lets one of several copies through and
        none after the account's password has changed.
        """
        found = await self.find(sign_in_id)
        if found is None:
            return None
        if turn != found.turn:
            return await self._renew_in_grace(found, turn)
        now_ms = self._clock.now_ms()
        update = Update(
            key=_key(sign_in_id),
            expression="SET turn = :next, turnedAt = :now, #ttl = :ttl",
            condition="turn = :turn",
            names={"#ttl": "ttl"},
            values={
                ":next": turn + 1,
                ":now": now_ms,
                ":turn": turn,
                ":ttl": now_ms // 1000 + SIGN_IN_TTL_S,
            },
        )
        try:
            await self._table.transact([update, _check_account(found)])
        except TransactionCancelled as cancelled:
            if cancelled.failed_positions() != [0]:
                return None
            return await self._renew_after_race(sign_in_id, turn)
        return msgspec.structs.replace(found, turn=turn + 1, turned_at=now_ms)

    async def find(self, sign_in_id: str) -> SignIn | None:
        """One sign-in, None once it is over.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(_key(sign_in_id))
        return msgspec.convert(item, SignIn) if item else None

    async def end(self, sign_in_id: str) -> None:
        """Nothing is renewed any more.

        DynamoDB: one DeleteItem; idempotent.
        """
        await self._table.transact([Delete(key=_key(sign_in_id))])

    async def _renew_after_race(self, sign_in_id: str, turn: int) -> SignIn | None:
        found = await self.find(sign_in_id)
        return None if found is None else await self._renew_in_grace(found, turn)

    async def _renew_in_grace(self, found: SignIn, turn: int) -> SignIn | None:
        if turn > found.turn:
            # A table restored from a backup has forgotten that it gave this one.
            return None
        age_ms = self._clock.now_ms() - found.turned_at
        if turn < found.turn - 1 or age_ms > GRACE_MS:
            raise RefreshTokenReused(found)
        try:
            await self._table.transact([_check_account(found)])
        except TransactionCancelled:
            return None
        return found


def _key(sign_in_id: str) -> Key:
    return Key(f"SIGNIN#{sign_in_id}", "SIGNIN")


def _check_account(sign_in: SignIn) -> Check:
    """The account is there, and its password has not changed since."""
    return Check(
        key=Login(sign_in.user_type, sign_in.phone).key("ACCOUNT"),
        condition="since <= :begun",
        values={":begun": sign_in.since},
    )
