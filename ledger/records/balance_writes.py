"""Conditional writes of account balances, and what a failed condition means."""

from ledger.core.accounts import AccountKind, balance_key, kind_of, list_shard_of
from ledger.core.entries import Leg
from ledger.core.facts import Rejection
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Put, Write, time_sort_key
from ledger.records.update_builder import UpdateBuilder
from ledger.records.wallets import (
    ACTIVE,
    CASH_OUTSTANDING,
    Balance,
    balance_item,
    debited_counter,
    read_balance,
)

# Balance fields that a debit reduces and that may not fall below zero.
_COUNTERS = ("available", "held")
# Balance fields that account shards do not have.
_WALLET_ONLY_FIELDS = frozenset({"held", "available", "earned", "seq", "head", "status"})


def write_balance(before: Balance, after: Balance) -> Write:
    """Change a balance by one leg, or by several legs of the same sign. Units: whole XAF.

    DynamoDB: Put if absent, or Update: of a wallet if `seq` is unchanged and the debit is covered,
    of an account shard if it exists, of a debt if no more is repaid than owed.
    """
    if kind_of(before.account).has_lines:
        return _write_wallet(before, after)
    return _write_shard(before, after)


def explain_rejected_balance(leg: Leg, item: Item | None) -> Rejection | None:
    """Why a balance write failed; None where the balance only changed and a retry may succeed.

    `item` is the balance as it is stored. Units: whole XAF.
    """
    balance = read_balance(leg.account, item)
    kind = kind_of(leg.account)
    if leg.amount > 0:
        # No more can be repaid than is owed.
        is_debt = kind in {AccountKind.RIDERCASH, AccountKind.RECEIVABLE}
        if is_debt and -balance.posted < leg.amount:
            return Rejection(
                "insufficient_funds", f"{leg.account} owes {-balance.posted}, not {leg.amount}"
            )
        return None
    if not kind.has_lines:
        return None
    counter = debited_counter(leg)
    if counter == "available" and balance.status != ACTIVE:
        return Rejection("frozen", f"{leg.account} is {balance.status}")
    spendable = balance.available if counter == "available" else balance.held
    if spendable < -leg.amount:
        return Rejection("insufficient_funds", f"{leg.account} has {spendable} of {-leg.amount}")
    return None


def _write_wallet(before: Balance, after: Balance) -> Write:
    account, delta = before.account, after.posted - before.posted
    is_cash = kind_of(account) is AccountKind.RIDERCASH
    if before.is_new and delta > 0 and not is_cash:
        return Put(item=balance_item(after), condition=IF_ABSENT)
    update = UpdateBuilder(balance_key(account))
    # Lines are numbered without gaps, so the line before must still be the last one.
    update.require("seq = :before", before=before.seq)
    update.set("posted = posted + :d", d=delta)
    _change_counters(update, before, after)
    if is_cash:
        _change_cash(update, before, after)
    update.set("seq = :seq", seq=after.seq)
    update.set("head = :head", head=after.head)
    earned, entries = after.earned - before.earned, after.entries - before.entries
    update.set("earned = if_not_exists(earned, :zero) + :earned", zero=0, earned=earned)
    update.set("entries = if_not_exists(entries, :zero) + :entries", entries=entries)
    update.set("v = v + :one", one=after.v - before.v)
    update.set("updatedAt = :now", now=after.updated_at)
    return update.build()


def _change_counters(update: UpdateBuilder, before: Balance, after: Balance) -> None:
    """Change what may be spent and what is held; a reduction must be covered."""
    for name in _COUNTERS:
        change = getattr(after, name) - getattr(before, name)
        if not change:
            continue
        update.set(f"{name} = {name} + :{name}", **{name: change})
        if change < 0:
            update.require(f"{name} >= :need", need=-change)
    if after.available < before.available:
        update.require("#status = :active", active=ACTIVE)
        update.name("status")


def _change_cash(update: UpdateBuilder, before: Balance, after: Balance) -> None:
    """Change what a rider owes: its exposure, and its place in the list of outstanding cash."""
    delta = after.posted - before.posted
    if delta < 0:
        rider_id = before.account.partition("#")[2]
        # The exposure was raised when the rider accepted the order; the list is sorted by the
        # moment of the first cash collected.
        update.set("GSI2PK = :pk", pk=f"{CASH_OUTSTANDING}#{list_shard_of(rider_id)}")
        since = time_sort_key(after.updated_at, rider_id)
        update.set("GSI2SK = if_not_exists(GSI2SK, :since)", since=since)
        return
    update.require("posted <= :owed", owed=-delta)
    update.set("exposure = exposure - :d")
    if not after.posted:
        update.remove("GSI2PK", "GSI2SK")


def _write_shard(before: Balance, after: Balance) -> Write:
    delta = after.posted - before.posted
    is_repaid = kind_of(before.account) is AccountKind.RECEIVABLE and delta > 0
    if before.is_new and not is_repaid:
        fields = balance_item(after).items()
        item = {name: value for name, value in fields if name not in _WALLET_ONLY_FIELDS}
        return Put(item=item, condition=IF_ABSENT)
    # No line depends on a shard's balance, so additions may be written in any order.
    update = UpdateBuilder(balance_key(before.account))
    update.set("posted = posted + :d", d=delta)
    update.set("entries = entries + :entries", entries=after.entries - before.entries)
    update.set("v = v + :one", one=after.v - before.v)
    update.set("updatedAt = :now", now=after.updated_at)
    if is_repaid:
        update.require("posted <= :owed", owed=-delta)
    else:
        update.require("attribute_exists(PK)")
    return update.build()
