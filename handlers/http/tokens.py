"""Token revocation endpoint: revoke one token, or all that a user holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web

from dispatch.accounts.revocations import (
    RevocationRequest,
    Revocations,
    identity_subject,
    token_subject,
)
from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.wire.http.tokens import TokenRevocation
from handlers.http.framework.envelope import HTTP_EDGE, PRINCIPAL, JsonObject, Route, read_body
from handlers.http.framework.idempotency import http_caller
from handlers.sessions.auth import AUDIENCE_OF, TokenRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensContext:
    """What the token endpoint uses."""

    revocations: Revocations


TOKENS = web.AppKey("tokens", TokensContext)


class _Revoked(NamedTuple):
    """The subjects to revoke, and how the answer names them."""

    subjects: Sequence[str]
    answer: dict[str, Any]


async def post_revoke(request: web.Request) -> JsonObject:
    """Revoke a token, given itself or its `jti`, or every token that a user holds until now.

    Its sockets are closed within five seconds, on every node.

    Errors: Refused MALFORMED, CONFLICT.
    """
    body = await read_body(request, TokenRevocation)
    key, by = http_caller(request, body).request_key, request[PRINCIPAL].id
    revoked = _subjects(request, body)
    revocation = RevocationRequest(revoked.subjects, by, body.reason)
    return await request.app[TOKENS].revocations.add(revocation, revoked.answer, key)


def _subjects(request: web.Request, body: TokenRevocation) -> _Revoked:
    given = [each for each in (body.token, body.jti, body.user_id) if each is not None]
    if len(given) != 1 or (body.user_type is not None and body.user_id is None):
        raise Refused(Refusal.MALFORMED, "name one of `token`, `jti` and `userId` (`userType`)")
    if body.user_id is not None:
        user_types = [body.user_type] if body.user_type else list(AUDIENCE_OF)
        owners = [identity(AUDIENCE_OF[each], body.user_id) for each in user_types]
        return _Revoked([identity_subject(owner) for owner in owners], {"identities": owners})
    token_id = body.jti if body.jti is not None else _token_id_of(request, body.token)
    return _Revoked([token_subject(token_id)], {"tokenId": token_id})


def _token_id_of(request: web.Request, token: str | None) -> str:
    edge = request.app[HTTP_EDGE]
    try:
        return edge.tokens.read(token, edge.clock.now_ms()).token_id
    except TokenRefused as refused:
        raise Refused(Refusal.MALFORMED, f"token: {refused}") from None


ROUTES = (Route("POST", "/api/v1/admin/tokens/revoke", ("ADMIN",), post_revoke, TokenRevocation),)
