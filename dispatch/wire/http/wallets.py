"""Bodies of the wallet endpoints: top up, request a payout."""

from typing import Annotated

from msgspec import Meta

from dispatch.wire.http.base import LargeAmount, ProviderName, Request, RequiredText, ShortText


class TopUp(Request, frozen=True, kw_only=True):
    """Request money into the caller's wallet through a payment provider. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=10_000_000)]
    provider: ProviderName


class PayoutRequest(Request, frozen=True, kw_only=True):
    """Request money out of the caller's wallet to an outside account. Units: whole XAF.

    `destination` is a phone or account number, or up to ten named fields that the payout provider
    understands.
    """

    amount: LargeAmount
    destination: (
        RequiredText
        | Annotated[
            dict[Annotated[str, Meta(max_length=40)], ShortText],
            Meta(min_length=1, max_length=10),
        ]
    )
