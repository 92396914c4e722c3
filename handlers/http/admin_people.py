"""Operators' endpoints about people: lists of customers, vendors and riders, and their standing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from dispatch.accounts.people import People
from dispatch.accounts.standing import Standing
from dispatch.accounts.standing_decisions import StandingDecision, person_view
from dispatch.errors import Refusal, Refused
from dispatch.orders.standing_changes import StandingChanges
from dispatch.riders.store import Riders
from dispatch.wire.http.base import OwnerType
from dispatch.wire.http.people import StandingChange
from handlers.http.framework.envelope import Handler, JsonObject, Roles, Route, read_body
from handlers.http.framework.idempotency import http_caller
from handlers.http.framework.pagination import ListPage, id_of, listing, page_of

# Source: chosen; longer than any name or phone.
SEARCH_CHARS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPeopleContext:
    """What these endpoints use."""

    people: People
    riders: Riders
    standing_changes: StandingChanges


ADMIN_PEOPLE = web.AppKey("admin_people", AdminPeopleContext)


async def _list_people(request: web.Request, user_type: OwnerType) -> ListPage[dict[str, Any]]:
    """People by `standing`, or all, whose id, name or phone contains `q`; oldest first.

    Those known only from a token are listed once an operator has decided about them.

    Errors: Refused MALFORMED.
    """
    context = request.app[ADMIN_PEOPLE]
    text = request.query.get("q", "").strip()
    if len(text) > SEARCH_CHARS_MAX:
        raise Refused(Refusal.MALFORMED, f"q: at most {SEARCH_CHARS_MAX} characters")
    standing = _standing_of(request)
    found, cursor = await context.people.list_people(user_type, standing, text, page_of(request))
    return listing((person_view(person, context.people.rules) for person in found), cursor)


def _standing_of(request: web.Request) -> Standing | None:
    text = request.query.get("standing")
    if text is None:
        return None
    try:
        return Standing(text)
    except ValueError:
        names = ", ".join(Standing)
        raise Refused(Refusal.MALFORMED, f"standing: one of {names}") from None


async def _show_person(request: web.Request, user_type: OwnerType) -> JsonObject:
    """One person's standing; for a rider also what it carries.

    An id without a record here is shown with the standing that counts for it.

    Errors: Refused NOT_FOUND for a text that is no id.
    """
    context = request.app[ADMIN_PEOPLE]
    person = await context.people.get(user_type, id_of(request, "personId"))
    view = person_view(person, context.people.rules)
    if user_type != "RIDER":
        return view
    workload = await context.riders.workload(person.person_id)
    return {**view, "available": workload.available, "orders": list(workload.orders)}


async def _decide(request: web.Request, user_type: OwnerType) -> JsonObject:
    """Decide about a person's standing.

    `SUSPENDED` and `CLOSED` end every sign-in, token and socket within five seconds.

    Errors: Refused NOT_FOUND; WRONG_STATE for a change that is not allowed; CONFLICT.
    """
    person_id = id_of(request, "personId")
    body = await read_body(request, StandingChange)
    decision = StandingDecision(user_type, person_id, Standing(body.standing), body.reason)
    changes = request.app[ADMIN_PEOPLE].standing_changes
    return await changes.change(http_caller(request, body), decision)


_Handler = Callable[[web.Request, OwnerType], Awaitable[object]]


def _of_type(handler: _Handler, name: str, user_type: OwnerType) -> Handler:
    """The handler for one type of people, under a name of its own for the API documents."""

    async def handle(request: web.Request) -> object:
        return await handler(request, user_type)

    handle.__name__, handle.__doc__ = name, handler.__doc__
    return handle


def _routes(plural: str, user_type: OwnerType) -> tuple[Route, ...]:
    people = f"/api/v1/admin/{plural}"
    roles: Roles = ("ADMIN",)
    person = f"{people}/{{personId}}"
    show = _of_type(_show_person, f"get_{user_type.lower()}", user_type)
    decide = _of_type(_decide, f"post_{user_type.lower()}_standing", user_type)
    return (
        Route("GET", people, roles, _of_type(_list_people, f"get_{plural}", user_type)),
        Route("GET", person, roles, show),
        Route("POST", f"{person}/standing", roles, decide, StandingChange),
    )


ROUTES = (*_routes("riders", "RIDER"), *_routes("vendors", "VENDOR"), *_routes("users", "USER"))
