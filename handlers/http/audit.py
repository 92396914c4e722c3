"""Audit endpoint: what operators did, to what, when and why."""

from dataclasses import dataclass

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.events.audit_log import AuditFilter, AuditLog, AuditRecord
from handlers.http.framework.envelope import Route
from handlers.http.framework.pagination import ListPage, listing, page_of, timestamp_of

# Longer than any operator's id, action or resource. Source: ids have at most 64 characters, and a
# resource names at most three.
NAME_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What this endpoint uses."""

    audit_log: AuditLog


AUDIT = web.AppKey("audit", AuditContext)


async def get_audit(request: web.Request) -> ListPage[AuditRecord]:
    """Operators' acts, newest first; a page may be short while `nextCursor` leads on.

    Errors: Refused MALFORMED.
    """
    wanted = AuditFilter(
        actor=_name_of(request, "actor"),
        action=_name_of(request, "action"),
        resource=_name_of(request, "resource"),
        from_ms=timestamp_of(request, "from", 0),
        to_ms=timestamp_of(request, "to") if "to" in request.query else None,
    )
    return listing(*await request.app[AUDIT].audit_log.list_records(wanted, page_of(request)))


def _name_of(request: web.Request, name: str) -> str | None:
    text = request.query.get(name)
    if text is not None and not 1 <= len(text) <= NAME_CHARS_MAX:
        raise Refused(Refusal.MALFORMED, f"{name}: 1 to {NAME_CHARS_MAX} characters")
    return text


ROUTES = (Route("GET", "/api/v1/admin/audit", ("ADMIN",), get_audit),)
