"""Payout providers: the interface, a sandbox for developers, and payment by hand."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from ledger.records.payouts import Payout

# The name of the provider that only a server with --dev has.
SANDBOX = "sandbox"
# The name of the provider for payouts that an operator pays by hand.
MANUAL = "manual"
# Digits of a destination that make the sandbox fail, or pay late; any other is paid at once.
SANDBOX_FAILS_DIGITS = "0000"
SANDBOX_WAITS_DIGITS = "1111"


class ProviderStatus(StrEnum):
    """The state of a payout at its provider."""

    PAID = "PAID"
    FAILED = "FAILED"
    # Under way, or the provider gave no clear answer.
    UNKNOWN = "UNKNOWN"
    # The provider does not know the reference.
    NOT_FOUND = "NOT_FOUND"


class ProviderReport(NamedTuple):
    """A provider's answer. Units: whole XAF."""

    status: ProviderStatus
    fee: int = 0
    reason: str = ""


class PayoutProvider(Protocol):
    """A payout provider; one reference is paid once, however often it is submitted.

    A provider that cannot be reached or answers late reports UNKNOWN; no method raises.
    """

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask the provider to pay."""
        ...

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask the provider for the state of a payout."""
        ...


class NamedProvider(NamedTuple):
    """A provider with the name that payouts and webhooks have for it."""

    name: str
    provider: PayoutProvider


class SandboxProvider:
    """A provider in memory that pays every payout."""

    def __init__(self) -> None:
        # Grows with each payout, until the process ends.
        self._known_references: set[str] = set()

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Pay at once, unless the destination contains one of the digits above."""
        destination = str(payout.destination)
        is_new = reference not in self._known_references
        self._known_references.add(reference)
        if SANDBOX_FAILS_DIGITS in destination:
            return ProviderReport(
                ProviderStatus.FAILED, reason="the sandbox refuses this destination"
            )
        return ProviderReport(
            ProviderStatus.UNKNOWN
            if SANDBOX_WAITS_DIGITS in destination and is_new
            else ProviderStatus.PAID
        )

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """A payout that had to wait is paid at the first question."""
        if reference not in self._known_references:
            return ProviderReport(ProviderStatus.NOT_FOUND)
        return await self.submit(payout, reference)


class ManualProvider:
    """A provider without a connection: an operator reports the outcome of each payout."""

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Always UNKNOWN: the payout waits for the operator."""
        return ProviderReport(ProviderStatus.UNKNOWN)

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """Always UNKNOWN: the payout waits for the operator."""
        return ProviderReport(ProviderStatus.UNKNOWN)
