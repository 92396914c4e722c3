"""Standing of customers, vendors and riders: its states, their changes, and what each permits.

The conditions are part of the transactions that place, offer, accept and draw money, so that a
change of standing cannot race with them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.settings import Approval
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import Check, Item, Key
from ledger.records.wallets import ACTIVE


class Standing(StrEnum):
    """State of a person's permission to take part."""

    PENDING = "PENDING"
    UNDER_REVIEW = "UNDER_REVIEW"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    SUSPENDED = "SUSPENDED"
    CLOSED = "CLOSED"


_S = Standing
# What an operator may make of each state.
TRANSITIONS: Mapping[Standing, frozenset[Standing]] = {
    _S.PENDING: frozenset({_S.UNDER_REVIEW, _S.APPROVED, _S.REJECTED, _S.SUSPENDED, _S.CLOSED}),
    _S.UNDER_REVIEW: frozenset({_S.APPROVED, _S.REJECTED, _S.SUSPENDED, _S.CLOSED}),
    _S.APPROVED: frozenset({_S.UNDER_REVIEW, _S.SUSPENDED, _S.CLOSED}),
    _S.REJECTED: frozenset({_S.UNDER_REVIEW, _S.APPROVED, _S.CLOSED}),
    _S.SUSPENDED: frozenset({_S.UNDER_REVIEW, _S.APPROVED, _S.REJECTED, _S.CLOSED}),
    # A closed account is looked at again before it takes part again.
    _S.CLOSED: frozenset({_S.UNDER_REVIEW}),
}
# Standings that may not sign in or connect; entering one ends sign-ins, tokens and sockets.
BARRED = frozenset({Standing.SUSPENDED, Standing.CLOSED})

# Standings without a decision yet.
_UNDECIDED = frozenset({Standing.PENDING, Standing.UNDER_REVIEW})


# Partitions of each list of people; they come and change far more rarely than orders.
LIST_SHARDS = 4


def people_pk(user_type: OwnerType, shard: int) -> str:
    """The partition of GSI1 that lists the people of a type that have a standing here."""
    return f"PEOPLE#{user_type}#{shard}"


def people_by_standing_pk(user_type: OwnerType, standing: Standing, shard: int) -> str:
    """The partition of GSI2 that lists the people of a type with one standing."""
    return f"PEOPLE#{user_type}#{standing.value}#{shard}"


def standing_key(user_type: OwnerType, person_id: str) -> Key:
    """The key of the item with a person's standing."""
    return Key(f"{user_type}#{person_id}", "STANDING")


class StandingRules:
    """What each standing permits, by REQUIRE_APPROVAL."""

    def __init__(self, approval: Approval = "accounts") -> None:
        self._approval: Approval = approval

    def initial(self, user_type: OwnerType) -> Standing:
        """The standing of an account that is made here; customers are never held for approval."""
        if user_type == "USER" or self._approval == "off":
            return Standing.APPROVED
        return Standing.PENDING

    def effective(self, standing: Standing | None) -> Standing:
        """The standing that counts; None is that of an id known only from a token."""
        if standing is None:
            return Standing.PENDING if self._approval == "all" else Standing.APPROVED
        return standing

    def is_active(self, standing: Standing | None) -> bool:
        """Whether a person with this standing may take part."""
        return self.effective(standing) in self._active()

    def check_active(self, user_type: OwnerType, person_id: str) -> Check:
        """The check that a person may order, sell, deliver or draw money now.

        A customer whose account was made here must also have proven its phone.

        DynamoDB: a condition of STANDING; without the item it is that of an unknown id.
        """
        allowed = {f":s{i}": each.value for i, each in enumerate(sorted(self._active()))}
        has_standing = f"standing IN ({', '.join(allowed)})"
        if self._approval != "all":
            has_standing = f"(attribute_not_exists(standing) OR {has_standing})"
        condition = (
            f"{has_standing} AND (attribute_not_exists(walletStatus) OR walletStatus = :active)"
        )
        if user_type == "USER":
            condition += (
                " AND (attribute_not_exists(registeredAt) OR attribute_exists(phoneVerifiedAt))"
            )
        return Check(
            key=standing_key(user_type, person_id),
            condition=condition,
            values={**allowed, ":active": ACTIVE},
        )

    def check_admitted(
        self, user_type: OwnerType, person_id: str, started_at_ms: int | None = None
    ) -> Check:
        """The check that a person may sign in; with a time also that a sign-in of then is good.

        One that started before the person's sign-ins were ended is not. Units: Unix milliseconds.
        DynamoDB: a condition of STANDING, which may be missing.
        """
        values: dict[str, Any] = {f":s{i}": each.value for i, each in enumerate(sorted(BARRED))}
        condition = f"(attribute_not_exists(standing) OR NOT standing IN ({', '.join(values)}))"
        if started_at_ms is not None:
            values[":started"] = started_at_ms
            condition += (
                " AND (attribute_not_exists(sessionsValidFrom) OR sessionsValidFrom <= :started)"
            )
        return Check(key=standing_key(user_type, person_id), condition=condition, values=values)

    def refusal(self, item: Item | None, subject: str = "you") -> Refused:
        """Why `check_active` failed, from the item that it met; `subject` is who was checked."""
        found: Mapping[str, Any] = item or {}
        standing = self.effective(_standing_of(found))
        if standing not in self._active():
            return not_approved(standing, str(found.get("reason", "")), subject)
        wallet_status = found.get("walletStatus", ACTIVE)
        if wallet_status != ACTIVE:
            return Refused(Refusal.FORBIDDEN, f"the wallet is {wallet_status}")
        return Refused(
            Refusal.PHONE_UNVERIFIED, "prove your phone by a code first (/auth/otp/verify)"
        )

    def _active(self) -> frozenset[Standing]:
        approved = frozenset({Standing.APPROVED})
        return approved | _UNDECIDED if self._approval == "off" else approved


def not_approved(standing: Standing, reason: str, subject: str = "you") -> Refused:
    """The refusal of a person whose standing does not permit what was asked."""
    verb = "are" if subject == "you" else "is"
    return Refused(
        Refusal.NOT_APPROVED,
        f"{subject} {verb} not approved: {standing.value}",
        {"standing": standing.value, "reason": reason},
    )


def _standing_of(item: Mapping[str, Any]) -> Standing | None:
    text = item.get("standing")
    return None if text is None else Standing(text)
