"""Tokens recalled before their end: one of them, or all that somebody has."""

from typing import Any

from aiohttp import web

from dispatch.accounts.revocations import RevocationRequest, identity_subject, token_subject
from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.wire.http.tokens import TokenRevocation
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import HTTP_EDGE, PRINCIPAL, Route, read_body
from handlers.http.framework.idempotency import caller_of
from handlers.sessions.auth import AUDIENCE_OF, TokenRefused


async def post_revoke(request: web.Request) -> Any:
    """Recall a token by itself or by its `jti`, or every token that a user has until now.

    Its sockets are closed within five seconds, on every server.
    """
    body = await read_body(request, TokenRevocation)
    receipt, by = caller_of(request, body).request_key, request[PRINCIPAL].identity
    subjects, answer = _subjects(request, body)
    wish = RevocationRequest(subjects, by, body.reason)
    return await request.app[DESK].revocations.add(wish, answer, receipt)


def _subjects(request: web.Request, body: TokenRevocation) -> tuple[list[str], dict[str, Any]]:
    named = [each for each in (body.token, body.jti, body.user_id) if each is not None]
    if len(named) != 1 or (body.user_type is not None and body.user_id is None):
        raise Refused(Refusal.MALFORMED, "name one of `token`, `jti` and `userId` (`userType`)")
    if body.user_id is not None:
        kinds = [body.user_type] if body.user_type else list(AUDIENCE_OF)
        owners = [identity(AUDIENCE_OF[kind], body.user_id) for kind in kinds]
        return [identity_subject(owner) for owner in owners], {"identities": owners}
    token_id = body.jti if body.jti is not None else _token_id_of(request, body.token)
    return [token_subject(token_id)], {"tokenId": token_id}


def _token_id_of(request: web.Request, token: object) -> str:
    edge = request.app[HTTP_EDGE]
    try:
        return edge.tokens.read(token, edge.clock.now_ms()).token_id
    except TokenRefused as refused:
        raise Refused(Refusal.MALFORMED, f"token: {refused}") from None


ROUTES = (
    Route(
        "POST",
        "/api/v1/admin/tokens/revoke",
        ("ADMIN",),
        post_revoke,
        TokenRevocation,
    ),
)
