"""Multiset hash: sums of hashed elements that do not depend on the elements' order."""

from hashlib import blake2b

# Source: 128 bits; two different sets of a million elements collide with a chance of 1 in 10^26.
_DIGEST_BYTES = 16
_MODULUS = 1 << (8 * _DIGEST_BYTES)


class MultisetHash:
    """One sum of hashes per account: expected elements are added, found ones subtracted."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def add_expected(self, account: str, *fields: object) -> None:
        """Add an element that must be found."""
        self._add(account, _hash_element(fields))

    def add_found(self, account: str, *fields: object) -> None:
        """Subtract an element that was found."""
        self._add(account, -_hash_element(fields))

    def mismatched_accounts(self) -> list[str]:
        """Accounts whose expected and found elements differ."""
        return sorted(self._sums)

    def _add(self, account: str, element_hash: int) -> None:
        after = (self._sums.get(account, 0) + element_hash) % _MODULUS
        if after:
            self._sums[account] = after
        else:
            self._sums.pop(account, None)


def _hash_element(fields: tuple[object, ...]) -> int:
    text = "|".join(map(str, fields)).encode()
    return int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES).digest(), "little")
