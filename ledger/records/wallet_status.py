"""Whether a wallet may be drawn from: frozen and freed, closed and opened again."""

from typing import Any

from ledger.core.accounts import balance_key
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Update
from ledger.records.wallets import CLOSED, GENESIS

# What a wallet that was never used begins with.
_ZERO_FIELDS = ("posted", "held", "available", "earned", "entries", "seq")


def set_wallet_status(account: str, status: str, now_ms: int) -> Update:
    """Freeze, free or close a wallet; only an empty one can be closed.

    A frozen or closed wallet still receives what its owner is owed; nothing leaves it but what was
    held for a payout before.

    DynamoDB: one update, which makes the wallet where it was never used.
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
    begun = ", ".join(f"{name} = if_not_exists({name}, :zero)" for name in _ZERO_FIELDS)
    is_empty = "attribute_not_exists(PK) OR (posted = :zero AND held = :zero)"
    return Update(
        key=balance_key(account),
        expression=(
            f"SET #status = :to, {begun}, v = if_not_exists(v, :zero) + :one, "
            "head = if_not_exists(head, :genesis), account = if_not_exists(account, :account), "
            "ccy = if_not_exists(ccy, :ccy), createdAt = if_not_exists(createdAt, :now), "
            "updatedAt = :now"
        ),
        condition=is_empty if status == CLOSED else None,
        names={"#status": "status"},
        values=values,
    )
