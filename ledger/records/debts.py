"""Debts of wallet owners: what a refund or a cancellation could not take from them."""

from ledger.core import accounts
from ledger.core.accounts import balance_key
from ledger.dynamodb.table import Check, Item


def check_no_debt(owner_type: str, owner_id: str) -> Check:
    """The check that an owner owes nothing.

    DynamoDB: a condition of the BALANCE of RECEIVABLE, which is missing for most owners.
    """
    return Check(
        key=balance_key(accounts.receivable(owner_type, owner_id)),
        condition="attribute_not_exists(PK) OR posted >= :zero",
        values={":zero": 0},
    )


def debt_of(item: Item | None) -> int:
    """The debt in the item that the check met. Units: whole XAF, above zero."""
    return -int(item["posted"]) if item is not None else 0
