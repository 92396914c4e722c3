"""What operators do with money: payouts, refunds, cash, corrections, wallets, the books."""

from typing import Any

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.money.payout_store import STATUSES, payout_view
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    PayoutGate,
    PayoutOutcome,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from dispatch.wire.http.base import ReasonBody
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import PRINCIPAL, Created, Route, read_body
from handlers.http.framework.idempotency import caller_of
from handlers.http.framework.pagination import id_of, listing, page_of
from handlers.http.wallets import statement_of
from ledger.core.accounts import OWNERS, owner
from ledger.records.adjustments import AdjustmentState


async def get_payouts(request: web.Request) -> Any:
    """Payouts of everybody that stand so, those without a decision where nothing is said."""
    status = request.query.get("status", "PENDING")
    if status not in STATUSES:
        raise Refused(Refusal.MALFORMED, f"status: one of {', '.join(sorted(STATUSES))}")
    found, cursor = await request.app[DESK].payout_store.list_by_status(status, page_of(request))
    return listing([payout_view(each) for each in found], cursor)


async def post_payout_approval(request: web.Request) -> Any:
    """Agree to a payout of somebody else's."""
    payer, payout_id = request.app[DESK].payout_service, id_of(request, "payoutId")
    return await payer.approve(caller_of(request), payout_id)


async def post_payout_rejection(request: web.Request) -> Any:
    """Turn a payout down."""
    body = await read_body(request, ReasonBody)
    payer, payout_id = request.app[DESK].payout_service, id_of(request, "payoutId")
    return await payer.reject(caller_of(request, body), payout_id, body.reason or "rejected")


async def post_payout_outcome(request: web.Request) -> Any:
    """Say what came of a payout that was carried out by hand, or that came back."""
    body = await read_body(request, PayoutOutcome)
    payer, payout_id = request.app[DESK].payout_service, id_of(request, "payoutId")
    return await payer.record_manual_outcome(caller_of(request, body), payout_id, body)


async def get_payout_gate(request: web.Request) -> Any:
    """Whether payouts are stopped, since when and why."""
    return await request.app[DESK].payout_store.get_gate()


async def put_payout_gate(request: web.Request) -> Any:
    """Stop payouts, or let them go on."""
    desk, body = request.app[DESK], await read_body(request, PayoutGate)
    by, now_ms = request[PRINCIPAL].id, desk.clock.now_ms()
    await desk.payout_store.set_gate(stopped=body.stopped, reason=body.reason, by=by, now_ms=now_ms)
    return await desk.payout_store.get_gate()


async def post_refund(request: web.Request) -> Any:
    """Give a part of a settled order back."""
    body = await read_body(request, RefundBody)
    bursar, order_id = request.app[DESK].correction_service, id_of(request, "orderId")
    return Created(await bursar.refund(caller_of(request, body), order_id, body))


async def post_remittance(request: web.Request) -> Any:
    """Take in cash that a rider had collected."""
    body = await read_body(request, RemittanceBody)
    desk, rider_id = request.app[DESK], id_of(request, "riderId")
    answer = await desk.correction_service.record_remittance(
        caller_of(request, body), rider_id, body
    )
    desk.cash_headroom.refresh_soon(rider_id)
    return Created(answer)


async def post_shortage(request: web.Request) -> Any:
    """Write down cash that a rider does not have; another person must agree."""
    body = await read_body(request, ShortageBody)
    bursar, rider_id = request.app[DESK].correction_service, id_of(request, "riderId")
    return Created(await bursar.propose_shortage(caller_of(request, body), rider_id, body))


async def get_riders_with_cash(request: web.Request) -> Any:
    """Riders who have cash of ours, whoever has it longest first in each shard."""
    found, cursor = await request.app[DESK].payout_store.list_riders_with_cash(page_of(request))
    return listing(found, cursor)


async def post_adjustment(request: web.Request) -> Any:
    """Write a correction of the books down; another person must agree."""
    body = await read_body(request, AdjustmentBody)
    return Created(
        await request.app[DESK].correction_service.propose(caller_of(request, body), body)
    )


async def get_adjustments(request: web.Request) -> Any:
    """Corrections that stand so, those without a decision where nothing is said."""
    status = request.query.get("status", AdjustmentState.PENDING.value)
    known = [state.value for state in AdjustmentState]
    if status not in known:
        raise Refused(Refusal.MALFORMED, f"status: one of {', '.join(known)}")
    found, cursor = await request.app[DESK].correction_service.list_proposals(
        status, page_of(request)
    )
    return listing(found, cursor)


async def post_adjustment_approval(request: web.Request) -> Any:
    """Agree to somebody else's correction; it is posted."""
    bursar, adjustment_id = request.app[DESK].correction_service, id_of(request, "adjustmentId")
    return await bursar.approve(caller_of(request), adjustment_id)


async def post_adjustment_rejection(request: web.Request) -> Any:
    """Turn somebody else's correction down."""
    bursar, adjustment_id = request.app[DESK].correction_service, id_of(request, "adjustmentId")
    return await bursar.reject(caller_of(request), adjustment_id)


def _wallet_account(request: web.Request) -> str:
    owner_type = request.match_info["ownerType"].upper()
    if owner_type not in OWNERS:
        raise Refused(Refusal.NOT_FOUND, f"there is no wallet of a {owner_type[:80]}")
    return owner(owner_type, id_of(request, "ownerId"))


async def get_wallet(request: web.Request) -> Any:
    """Anybody's wallet: what it has, holds and may spend, and whether it is frozen."""
    desk, account = request.app[DESK], _wallet_account(request)
    with translate_dynamodb_errors():
        return await desk.statements.wallet_details(*account.split("#"))


async def get_wallet_statement(request: web.Request) -> Any:
    """Anybody's statement."""
    return await statement_of(request, _wallet_account(request))


async def put_wallet_status(request: web.Request) -> Any:
    """Freeze, free or close a wallet."""
    body = await read_body(request, WalletStatusChange)
    account = _wallet_account(request)
    return await request.app[DESK].correction_service.set_wallet_status(
        caller_of(request, body), account, body
    )


async def get_trial_balance(request: web.Request) -> Any:
    """The sum of all accounts, which is zero."""
    with translate_dynamodb_errors():
        return await request.app[DESK].statements.trial_balance()


_ADMIN = ("ADMIN",)
_BASE = "/api/v1/admin"
ROUTES = (
    Route("GET", f"{_BASE}/payouts", _ADMIN, get_payouts),
    Route("POST", f"{_BASE}/payouts/{{payoutId}}/approve", _ADMIN, post_payout_approval),
    Route(
        "POST",
        f"{_BASE}/payouts/{{payoutId}}/reject",
        _ADMIN,
        post_payout_rejection,
        ReasonBody,
    ),
    Route(
        "POST",
        f"{_BASE}/payouts/{{payoutId}}/outcome",
        _ADMIN,
        post_payout_outcome,
        PayoutOutcome,
    ),
    Route("GET", f"{_BASE}/ledger/payout-gate", _ADMIN, get_payout_gate),
    Route("PUT", f"{_BASE}/ledger/payout-gate", _ADMIN, put_payout_gate, PayoutGate),
    Route("POST", f"{_BASE}/orders/{{orderId}}/refund", _ADMIN, post_refund, RefundBody),
    Route(
        "POST",
        f"{_BASE}/riders/{{riderId}}/remittances",
        _ADMIN,
        post_remittance,
        RemittanceBody,
    ),
    Route("POST", f"{_BASE}/riders/{{riderId}}/shortages", _ADMIN, post_shortage, ShortageBody),
    Route("GET", f"{_BASE}/riders/cash", _ADMIN, get_riders_with_cash),
    Route("POST", f"{_BASE}/adjustments", _ADMIN, post_adjustment, AdjustmentBody),
    Route("GET", f"{_BASE}/adjustments", _ADMIN, get_adjustments),
    Route(
        "POST", f"{_BASE}/adjustments/{{adjustmentId}}/approve", _ADMIN, post_adjustment_approval
    ),
    Route(
        "POST", f"{_BASE}/adjustments/{{adjustmentId}}/reject", _ADMIN, post_adjustment_rejection
    ),
    Route("GET", f"{_BASE}/wallets/{{ownerType}}/{{ownerId}}", _ADMIN, get_wallet),
    Route(
        "GET", f"{_BASE}/wallets/{{ownerType}}/{{ownerId}}/statement", _ADMIN, get_wallet_statement
    ),
    Route(
        "PUT",
        f"{_BASE}/wallets/{{ownerType}}/{{ownerId}}/status",
        _ADMIN,
        put_wallet_status,
        WalletStatusChange,
    ),
    Route("GET", f"{_BASE}/ledger/trial-balance", _ADMIN, get_trial_balance),
)
