"""Promotion endpoints for operators: discounts that the platform pays."""

from dataclasses import dataclass

from aiohttp import web

from dispatch.catalogue.promotions import Promotions, promotion_view
from dispatch.wire.http.base import ReasonBody
from dispatch.wire.http.promotions import NewPromotion
from handlers.http.framework.envelope import PRINCIPAL, Created, JsonObject, Route, read_body
from handlers.http.framework.idempotency import http_caller
from handlers.http.framework.pagination import ListPage, choice_of, id_of, listing, page_of
from ledger.records.promotions import PromotionState


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionsContext:
    """What the promotion endpoints use."""

    promotions: Promotions


PROMOTIONS = web.AppKey("promotions", PromotionsContext)


async def post_promotion(request: web.Request) -> Created[JsonObject]:
    """Create a promotion."""
    body = await read_body(request, NewPromotion)
    caller = http_caller(request, body)
    promotions = request.app[PROMOTIONS].promotions
    return Created(await promotions.create(body, caller.id, caller.request_key))


async def get_promotions(request: web.Request) -> ListPage[JsonObject]:
    """Promotions by status, newest first; active ones by default. Errors: Refused MALFORMED."""
    states = [state.value for state in PromotionState]
    state = PromotionState(choice_of(request, "status", states, PromotionState.ACTIVE.value))
    promotions = request.app[PROMOTIONS].promotions
    found, cursor = await promotions.list_by_state(state, page_of(request))
    return listing(map(promotion_view, found), cursor)


async def get_promotion(request: web.Request) -> JsonObject:
    """One promotion, with what is spent of its budget. Errors: Refused NOT_FOUND."""
    promotions = request.app[PROMOTIONS].promotions
    return promotion_view(await promotions.get(id_of(request, "code")))


async def post_promotion_stop(request: web.Request) -> JsonObject:
    """Stop a promotion; orders that have its discount keep it. Errors: Refused NOT_FOUND."""
    body = await read_body(request, ReasonBody)
    promotions, code = request.app[PROMOTIONS].promotions, id_of(request, "code")
    return promotion_view(await promotions.stop(code, request[PRINCIPAL].id, body.reason))


_ADMIN = ("ADMIN",)
_BASE = "/api/v1/admin/promotions"
ROUTES = (
    Route("POST", _BASE, _ADMIN, post_promotion, NewPromotion),
    Route("GET", _BASE, _ADMIN, get_promotions),
    Route("GET", f"{_BASE}/{{code}}", _ADMIN, get_promotion),
    Route("POST", f"{_BASE}/{{code}}/stop", _ADMIN, post_promotion_stop, ReasonBody),
)
