"""Sums that do not depend on order: what was claimed and what was found must come to the same."""

from hashlib import blake2b

# Source: 128 bits; two different sets of a million things agree by chance once in 10^26.
_BYTES = 16
_WHOLE = 1 << (8 * _BYTES)


class Marks:
    """A sum of marks for each account; claims add to it, findings take from it."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def claim(self, account: str, *told: object) -> None:
        """Something that must be found."""
        self._add(account, _mark(told))

    def find(self, account: str, *told: object) -> None:
        """Something that must have been claimed."""
        self._add(account, -_mark(told))

    def odd(self) -> list[str]:
        """Accounts where claims and findings differ."""
        return sorted(self._sums)

    def _add(self, account: str, mark: int) -> None:
        after = (self._sums.get(account, 0) + mark) % _WHOLE
        if after:
            self._sums[account] = after
        else:
            self._sums.pop(account, None)


def _mark(told: tuple[object, ...]) -> int:
    text = "|".join(map(str, told)).encode()
    return int.from_bytes(blake2b(text, digest_size=_BYTES).digest(), "little")
