"""Amounts of money: whole XAF, bounded, and divided without losing a franc."""

# XAF has no minor unit. Source: ISO 4217.
CURRENCY = "XAF"
# No amount may pass a million millions: far above any order, far below where floats lose integers.
# Source: ledger design.
AMOUNT_MAX = 10**12
# Rates are in basis points, one hundredth of a percent.
BPS_WHOLE = 10_000


def checked_amount(amount: int) -> int:
    """The amount itself, when it is one that may move.

    Errors: ValueError for anything but a whole number of 1 to 10^12 francs.
    """
    # A bool is an int to Python, but not to a customer.
    if type(amount) is not int or not 0 < amount <= AMOUNT_MAX:
        raise ValueError(f"{amount!r} is not an amount of money")
    return amount


def split(base: int, bps: int) -> tuple[int, int]:
    """Divide into the part a rate takes, rounded down, and the rest; together they are the base."""
    assert base >= 0
    assert 0 <= bps <= BPS_WHOLE
    part = base * bps // BPS_WHOLE
    return part, base - part
