"""Sums that do not depend on order: what was claimed and what was found must come to the same."""

from hashlib import blake2b

# Source: 128 bits; two different sets of a million things agree by chance once in 10^26.
_DIGEST_BYTES = 16
_MODULUS = 1 << (8 * _DIGEST_BYTES)


class MultisetHash:
    """A sum of marks for each account; claims add to it, findings take from it."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def add_expected(self, account: str, *fields: object) -> None:
        """Something that must be found."""
        self._add(account, _hash_element(fields))

    def add_found(self, account: str, *fields: object) -> None:
        """Something that must have been claimed."""
        self._add(account, -_hash_element(fields))

    def mismatched_accounts(self) -> list[str]:
        """Accounts where claims and findings differ."""
        return sorted(self._sums)

    def _add(self, account: str, mark: int) -> None:
        after = (self._sums.get(account, 0) + mark) % _MODULUS
        if after:
            self._sums[account] = after
        else:
            self._sums.pop(account, None)


def _hash_element(fields: tuple[object, ...]) -> int:
    text = "|".join(map(str, fields)).encode()
    return int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES).digest(), "little")
