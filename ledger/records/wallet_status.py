"""Status of a wallet: freezing, unfreezing, closing and reopening it."""

from typing import Any

from ledger.core.accounts import balance_key
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Update
from ledger.records.wallets import CLOSED, GENESIS

# Balance fields that an unused wallet starts with.
_ZERO_FIELDS = ("posted", "held", "available", "earned", "entries", "seq")


def set_wallet_status(account: str, status: str, now_ms: int) -> Update:
    """Set a wallet's status; only an empty wallet can be closed.

    A frozen or closed wallet is still credited; the only debits are payouts that were already held.

    DynamoDB: one Update, which creates the wallet if it was never used.
    """
    values: dict[str, Any] = {
        ":to": status,
        ":zero": 0,
        ":one": 1,
        ":genesis": GENESIS,
        ":account": account,
        ":ccy": CURRENCY,
        ":now": now_ms,
    }
    initial = ", ".join(f"{name} = if_not_exists({name}, :zero)" for name in _ZERO_FIELDS)
    is_empty = "attribute_not_exists(PK) OR (posted = :zero AND held = :zero)"
    return Update(
        key=balance_key(account),
        expression=(
            f"SET #status = :to, {initial}, v = if_not_exists(v, :zero) + :one, "
            "head = if_not_exists(head, :genesis), account = if_not_exists(account, :account), "
            "ccy = if_not_exists(ccy, :ccy), createdAt = if_not_exists(createdAt, :now), "
            "updatedAt = :now"
        ),
        condition=is_empty if status == CLOSED else None,
        names={"#status": "status"},
        values=values,
    )
