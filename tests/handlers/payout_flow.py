"""Requests payouts in HTTP tests, from wallets that are filled by an adjustment."""

from typing import Any

from ledger.core.accounts import clearing, vendor
from ledger.core.facts import Adjustment, AdjustmentLeg
from tests.handlers.http_api import CHEZ_ADA, Actor, ApiClient

PAYOUT_BODY = {"amount": 60_000, "destination": "+237 670 00 22 33"}


async def earn(api: ApiClient, account: str, amount: int, number: int = 1) -> None:
    """Post an adjustment that fills a wallet, in place of a hundred deliveries."""
    legs = (AdjustmentLeg(account, amount), AdjustmentLeg(clearing("bank", 0), -amount))
    fact = Adjustment(f"a{number}", legs, "opening", "adm_1", "adm_2")
    await api.ledger.post(fact)


async def request_payout(api: ApiClient, **body: Any) -> dict[str, Any]:
    """Request a payout for Chez Ada, out of 100,000."""
    await earn(api, vendor("ven_1"), 100_000)
    answer = await api.request(CHEZ_ADA, "POST /wallet/payout", {**PAYOUT_BODY, **body})
    assert answer.status == 201
    return answer.data


async def balances_xaf(api: ApiClient, actor: Actor = CHEZ_ADA) -> tuple[int, int]:
    """What an actor may spend, and what is held."""
    data = (await api.request(actor, "GET /wallet/balance")).data
    return data["availableBalance"], data["pendingBalance"]


async def status_of(api: ApiClient, payout_id: str) -> str:
    """The status of one of Chez Ada's payouts."""
    found = (await api.request(CHEZ_ADA, "GET /wallet/payouts")).data["items"]
    return next(each["status"] for each in found if each["payoutId"] == payout_id)
