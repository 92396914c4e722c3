"""Who carries money out: what we ask of a payout provider, and the two that need no contract."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from ledger.records.payouts import Payout

# Plays the provider where a developer has none.
SANDBOX = "sandbox"
# An operator pays by hand and says so.
MANUAL = "manual"
# Destinations by which a developer chooses what the sandbox does; any other is paid at once.
SANDBOX_FAILS_DIGITS = "0000"
SANDBOX_WAITS_DIGITS = "1111"


class ProviderStatus(StrEnum):
    """What a provider says of a payout."""

    PAID = "PAID"
    FAILED = "FAILED"
    # Under way, or nobody knows.
    UNKNOWN = "UNKNOWN"
    # He never heard of the reference.
    NOT_FOUND = "NOT_FOUND"


class ProviderReport(NamedTuple):
    """A provider's answer. Units: whole XAF."""

    status: ProviderStatus
    fee: int = 0
    reason: str = ""


class PayoutProvider(Protocol):
    """A payout provider; a reference that he knows is paid once, however often it is sent.

    What cannot be reached, or answers late, is UNKNOWN and never an error.
    """

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask him to pay."""
        ...

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask him what has come of it."""
        ...


class SandboxProvider:
    """Pays whatever it is asked for; forgets with its process."""

    def __init__(self) -> None:
        # References heard, each once; a developer's afternoon.
        self._known_references: set[str] = set()

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Pay at once, or as the destination's last digits say."""
        where = str(payout.destination)
        is_new = reference not in self._known_references
        self._known_references.add(reference)
        if SANDBOX_FAILS_DIGITS in where:
            return ProviderReport(
                ProviderStatus.FAILED, reason="the sandbox refuses this destination"
            )
        return ProviderReport(
            ProviderStatus.UNKNOWN
            if SANDBOX_WAITS_DIGITS in where and is_new
            else ProviderStatus.PAID
        )

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """What came of it: whoever was let wait is paid by now."""
        if reference not in self._known_references:
            return ProviderReport(ProviderStatus.NOT_FOUND)
        return await self.submit(payout, reference)


class ManualProvider:
    """Knows nothing by itself: an operator says what came of each payout."""

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """It waits for the operator."""
        return ProviderReport(ProviderStatus.UNKNOWN)

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """It still waits."""
        return ProviderReport(ProviderStatus.UNKNOWN)
