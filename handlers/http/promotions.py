"""What operators promise customers: discounts that the platform pays."""

from typing import Any

from aiohttp import web

from dispatch.catalogue.promotions import promotion_view
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.base import ReasonBody
from dispatch.wire.http.promotions import NewPromotion
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import PRINCIPAL, Created, Route, read_body
from handlers.http.framework.idempotency import caller_of
from handlers.http.framework.pagination import id_of, listing, page_of
from ledger.records.promotions import PromotionState


async def post_promotion(request: web.Request) -> Any:
    """Make a promotion."""
    body = await read_body(request, NewPromotion)
    by = caller_of(request, body)
    return Created(await request.app[DESK].promotions.create(body, by.id, by.request_key))


async def get_promotions(request: web.Request) -> Any:
    """Promotions that stand so, newest first; those that may be used where nothing is said."""
    status = request.query.get("status", PromotionState.ACTIVE.value)
    known = [state.value for state in PromotionState]
    if status not in known:
        raise Refused(Refusal.MALFORMED, f"status: one of {', '.join(known)}")
    page = page_of(request)
    found, cursor = await request.app[DESK].promotions.list_by_state(PromotionState(status), page)
    return listing([promotion_view(each) for each in found], cursor)


async def get_promotion(request: web.Request) -> Any:
    """One promotion, with what of it is spent."""
    return promotion_view(await request.app[DESK].promotions.get(id_of(request, "code")))


async def post_promotion_stop(request: web.Request) -> Any:
    """End a promotion; orders that have its discount keep it."""
    body = await read_body(request, ReasonBody)
    promotions, code = request.app[DESK].promotions, id_of(request, "code")
    return promotion_view(await promotions.stop(code, request[PRINCIPAL].id, body.reason))


_ADMIN = ("ADMIN",)
_BASE = "/api/v1/admin/promotions"
ROUTES = (
    Route("POST", _BASE, _ADMIN, post_promotion, NewPromotion),
    Route("GET", _BASE, _ADMIN, get_promotions),
    Route("GET", f"{_BASE}/{{code}}", _ADMIN, get_promotion),
    Route("POST", f"{_BASE}/{{code}}/stop", _ADMIN, post_promotion_stop, ReasonBody),
)
