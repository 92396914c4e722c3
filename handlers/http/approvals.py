"""Approval endpoints: operators' acts that wait for another operator, and the decision."""

from dataclasses import dataclass

from aiohttp import web

from dispatch.money.approvals.model import ApprovalState
from dispatch.money.approvals.service import ApprovalService
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.wire.http.base import ReasonBody
from handlers.http.framework.envelope import JsonObject, Route, read_body
from handlers.http.framework.idempotency import http_caller
from handlers.http.framework.pagination import ListPage, choice_of, id_of, listing, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalsContext:
    """What these endpoints use."""

    approval_service: ApprovalService
    cash_headroom: CashHeadroom


APPROVALS = web.AppKey("approvals", ApprovalsContext)


async def get_approvals(request: web.Request) -> ListPage[JsonObject]:
    """Acts by the state of their approval; those that wait by default. Errors: Refused MALFORMED.

    A page may be short while `nextCursor` leads on.
    """
    states = [state.value for state in ApprovalState]
    state = ApprovalState(choice_of(request, "status", states, ApprovalState.PENDING.value))
    service = request.app[APPROVALS].approval_service
    return listing(*await service.list_by_state(state, page_of(request)))


async def post_approval(request: web.Request) -> JsonObject:
    """Approve an act that another operator proposed; its effect is in `result`."""
    context = request.app[APPROVALS]
    approved = await context.approval_service.approve(
        http_caller(request), id_of(request, "approvalId")
    )
    rider_id = approved["details"].get("riderId")
    if rider_id is not None:
        context.cash_headroom.refresh_soon(rider_id)
    return approved


async def post_rejection(request: web.Request) -> JsonObject:
    """Reject an act that another operator proposed; it has no effect."""
    body = await read_body(request, ReasonBody)
    service, approval_id = request.app[APPROVALS].approval_service, id_of(request, "approvalId")
    return await service.reject(http_caller(request, body), approval_id, body.reason)


_ADMIN = ("ADMIN",)
_BASE = "/api/v1/admin/approvals"
ROUTES = (
    Route("GET", _BASE, _ADMIN, get_approvals),
    Route("POST", f"{_BASE}/{{approvalId}}/approve", _ADMIN, post_approval),
    Route("POST", f"{_BASE}/{{approvalId}}/reject", _ADMIN, post_rejection, ReasonBody),
)
