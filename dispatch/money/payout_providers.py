"""Who carries money out: what we ask of a payout provider, and the two that need no contract."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from ledger.records.payouts import Payout

# Plays the provider where a developer has none.
SANDBOX = "sandbox"
# An operator pays by hand and says so.
MANUAL = "manual"
# Destinations by which a developer chooses what the sandbox does; any other is paid at once.
SANDBOX_FAILS = "0000"
SANDBOX_WAITS = "1111"


class Word(StrEnum):
    """What a provider says of a payout."""

    PAID = "PAID"
    FAILED = "FAILED"
    # Under way, or nobody knows.
    UNKNOWN = "UNKNOWN"
    # He never heard of the reference.
    NOT_FOUND = "NOT_FOUND"


class Told(NamedTuple):
    """A provider's answer. Units: whole XAF."""

    word: Word
    fee: int = 0
    reason: str = ""


class Provider(Protocol):
    """A payout provider; a reference that he knows is paid once, however often it is sent.

    What cannot be reached, or answers late, is UNKNOWN and never an error.
    """

    async def submit(self, payout: Payout, reference: str) -> Told:
        """Ask him to pay."""
        ...

    async def find(self, payout: Payout, reference: str) -> Told:
        """Ask him what has come of it."""
        ...


class Sandbox:
    """Pays whatever it is asked for; forgets with its process."""

    def __init__(self) -> None:
        # References heard, each once; a developer's afternoon.
        self._heard: set[str] = set()

    async def submit(self, payout: Payout, reference: str) -> Told:
        """Pay at once, or as the destination's last digits say."""
        where = str(payout.destination)
        is_new = reference not in self._heard
        self._heard.add(reference)
        if SANDBOX_FAILS in where:
            return Told(Word.FAILED, reason="the sandbox refuses this destination")
        return Told(Word.UNKNOWN if SANDBOX_WAITS in where and is_new else Word.PAID)

    async def find(self, payout: Payout, reference: str) -> Told:
        """What came of it: whoever was let wait is paid by now."""
        if reference not in self._heard:
            return Told(Word.NOT_FOUND)
        return await self.submit(payout, reference)


class Manual:
    """Knows nothing by itself: an operator says what came of each payout."""

    async def submit(self, payout: Payout, reference: str) -> Told:
        """It waits for the operator."""
        return Told(Word.UNKNOWN)

    async def find(self, payout: Payout, reference: str) -> Told:
        """It still waits."""
        return Told(Word.UNKNOWN)
