"""Amounts of money: whole XAF, bounded, and divided without a remainder being lost."""

# XAF has no minor unit. Source: ISO 4217.
CURRENCY = "XAF"
# Largest amount. Source: chosen; far above any order, far below where floats lose integers.
AMOUNT_MAX = 10**12
# Rates are in basis points, one hundredth of a percent.
BPS_WHOLE = 10_000


def checked_amount(amount: int) -> int:
    """The amount, if it may be posted. Units: whole XAF.

    Errors: ValueError for anything but an integer from 1 to 10^12.
    """
    # A bool is an int in Python.
    if type(amount) is not int or not 0 < amount <= AMOUNT_MAX:
        raise ValueError(f"{amount!r} is not an amount of money")
    return amount


def split(base: int, bps: int) -> tuple[int, int]:
    """Divide into a rate's part, rounded down, and the rest; together they are `base`.

    Units: whole XAF, basis points.
    """
    assert base >= 0
    assert 0 <= bps <= BPS_WHOLE
    part = base * bps // BPS_WHOLE
    return part, base - part
