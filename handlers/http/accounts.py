"""Accounts: whoever has none elsewhere registers here, signs in and stays signed in."""

import secrets
from typing import Any

import structlog
from aiohttp import web

from dispatch.accounts.revocations import RevocationRequest, identity_subject
from dispatch.accounts.sign_ins import RefreshTokenReused, SignIn
from dispatch.accounts.store import (
    CODE_TTL_MS,
    Account,
    Login,
    NewCredentials,
    parse_login,
)
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.accounts import (
    CodeRequest,
    CodeVerification,
    Credentials,
    RefreshRequest,
    Registration,
)
from handlers.app.contexts import DESK, Desk
from handlers.http.framework.envelope import (
    HTTP_EDGE,
    PUBLIC,
    Created,
    Route,
    enforce_rate_limit,
    read_body,
)
from handlers.sessions.auth import AUDIENCE_OF, RefreshClaims, TokenRefused
from handlers.sessions.rate_limits import (
    CODE_ADDRESS_RATE,
    CODE_RATE,
    SIGN_IN_ADDRESS_RATE,
    SIGN_IN_RATE,
    Rate,
)

# A recall counts all tokens of its second as older; the next one is of the second after it.
_AFTER_REVOCATION_MS = 1_000

log = structlog.get_logger(__name__)


async def post_register(request: web.Request) -> Any:
    """Make an account; whoever says it again with the same password is signed in.

    Errors: Refused CONFLICT where the phone has an account with another password.
    """
    desk, body = request.app[DESK], await read_body(request, Registration)
    who = parse_login(body.user_type, body.phone)
    await _count_attempt(request, desk, who)
    found = await desk.accounts.find(who)
    if found is None:
        kept = await desk.passwords.hash(body.password)
        made = await desk.accounts.create(who, NewCredentials(password_hash=kept, name=body.name))
        # None: a copy of this request was faster.
        found = made or await desk.accounts.find(who)
    if found is None or not await desk.passwords.matches(found.password_hash, body.password):
        raise Refused(Refusal.CONFLICT, "this phone has an account")
    await desk.accounts.clear_tries(who)
    return Created(await _begin_sign_in(request, who, found))


async def post_login(request: web.Request) -> Any:
    """Sign in by password.

    Errors: Refused WRONG_CREDENTIALS, after the same work whether there is such an account.
    """
    desk, body = request.app[DESK], await read_body(request, Credentials)
    who = parse_login(body.user_type, body.phone)
    await _count_attempt(request, desk, who)
    found = await desk.accounts.find(who)
    kept = found.password_hash if found else None
    if not await desk.passwords.matches(kept, body.password) or found is None:
        raise Refused(Refusal.WRONG_CREDENTIALS, "no such account, or another password")
    await desk.accounts.clear_tries(who)
    return await _begin_sign_in(request, who, found)


async def post_refresh(request: web.Request) -> Any:
    """The next pair of tokens for a refresh token, which is good once.

    Errors: TokenRefused; where a token comes a second time its sign-in ends, for both who have it.
    """
    desk, edge = request.app[DESK], request.app[HTTP_EDGE]
    body = await read_body(request, RefreshRequest)
    turn = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    try:
        renewed = await desk.sign_ins.renew(turn.sign_in, turn.renewal_count)
    except RefreshTokenReused as reused:
        log.warning("refresh_token_reused", user=reused.sign_in.user_id)
        await _end_sign_in(desk, turn.sign_in)
        raise TokenRefused("token_invalid") from None
    if renewed is None:
        raise TokenRefused("token_invalid")
    return _tokens_view(request, renewed, edge.clock.now_ms())


async def post_logout(request: web.Request) -> Any:
    """End a sign-in; its sockets are closed within five seconds. Errors: TokenRefused."""
    edge, body = request.app[HTTP_EDGE], await read_body(request, RefreshRequest)
    turn = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    await _end_sign_in(request.app[DESK], turn.sign_in)
    return {}


async def post_code_request(request: web.Request) -> Any:
    """Send six digits to a phone, whether it has an account or not.

    Errors: Refused SERVICE_DISABLED where nobody sends codes.
    """
    desk, edge = request.app[DESK], request.app[HTTP_EDGE]
    body = await read_body(request, CodeRequest)
    who = parse_login(body.user_type, body.phone)
    desk.code_sender.require_enabled()
    await _enforce_rate_limits(request, CODE_ADDRESS_RATE, CODE_RATE, who)
    code = f"{secrets.randbelow(1_000_000):06d}"
    await desk.accounts.save_code(who, edge.tokens.keyed_hash(f"{who.label}:{code}"))
    shown = await desk.code_sender.send(who.phone, code, edge.clock.now_ms() + CODE_TTL_MS)
    return {"expiresInMs": CODE_TTL_MS, **shown}


async def post_code_verify(request: web.Request) -> Any:
    """Sign in by the code that came; a phone without an account gets one.

    With `password` it is the password from now on, and whoever had signed in before is out.

    Errors: Refused WRONG_CREDENTIALS.
    """
    desk, edge = request.app[DESK], request.app[HTTP_EDGE]
    body = await read_body(request, CodeVerification)
    who = parse_login(body.user_type, body.phone)
    await _enforce_rate_limits(request, SIGN_IN_ADDRESS_RATE, SIGN_IN_RATE, who, "by_code")
    if not await desk.accounts.consume_code(
        who, edge.tokens.keyed_hash(f"{who.label}:{body.code}")
    ):
        raise Refused(Refusal.WRONG_CREDENTIALS, "another code, or one that is over")
    kept = await desk.passwords.hash(body.password) if body.password else None
    proof = NewCredentials(password_hash=kept, name=body.name, is_phone_verified=True)
    made = await desk.accounts.create(who, proof)
    if made is not None:
        return Created(await _begin_sign_in(request, who, made))
    return await _sign_in_proven(request, who, proof)


async def _sign_in_proven(
    request: web.Request, login: Login, proof: NewCredentials
) -> dict[str, Any]:
    desk = request.app[DESK]
    before = await desk.accounts.find(login)
    assert before is not None, "an account that could not be made is there"
    after = await desk.accounts.verify_phone(login, before, proof)
    await desk.accounts.clear_tries(login)
    if after.since == before.since:
        return await _begin_sign_in(request, login, after)
    owner = identity_subject(f"{AUDIENCE_OF[login.user_type]}:{after.user_id}")
    wish = RevocationRequest([owner], owner.removeprefix("identity:"), "password changed by code")
    recalled = await desk.revocations.add(wish, {}, None)
    return await _begin_sign_in(request, login, after, recalled["revokedAt"] + _AFTER_REVOCATION_MS)


async def _count_attempt(request: web.Request, desk: Desk, login: Login) -> None:
    """Count a try by password. Errors: Refused RATE_LIMITED."""
    await _enforce_rate_limits(request, SIGN_IN_ADDRESS_RATE, SIGN_IN_RATE, login)
    wait_ms = await desk.accounts.count_try(login)
    if wait_ms:
        details: dict[str, object] = {"retryAfterMs": wait_ms}
        raise Refused(Refusal.RATE_LIMITED, "locked after five failures", details)


async def _enforce_rate_limits(
    request: web.Request,
    address_rate: Rate,
    login_rate: Rate,
    login: Login,
    method: str = "by_password",
) -> None:
    """Take from the buckets of an address and of a login. Errors: Refused RATE_LIMITED."""
    address = request.app[HTTP_EDGE].proxies.client_address(request)
    await enforce_rate_limit(
        request, address_rate, f"from:{address}", "too many tries from your address"
    )
    await enforce_rate_limit(
        request, login_rate, f"{login.label}:{method}", "too many tries; wait some minutes"
    )


async def _begin_sign_in(
    request: web.Request, login: Login, account: Account, now_ms: int | None = None
) -> dict[str, Any]:
    begun = await request.app[DESK].sign_ins.begin(login, account)
    return _tokens_view(request, begun, now_ms or request.app[HTTP_EDGE].clock.now_ms())


def _tokens_view(request: web.Request, sign_in: SignIn, now_ms: int) -> dict[str, Any]:
    turn = RefreshClaims(sign_in.sign_in_id, sign_in.turn)
    tokens = request.app[HTTP_EDGE].tokens
    pair = tokens.issue_pair(sign_in.user_type, sign_in.user_id, turn, now_ms)
    return {
        "userId": sign_in.user_id,
        "userType": sign_in.user_type,
        "accessToken": pair.access,
        "accessExpiresAt": pair.access_expires_at_ms,
        "refreshToken": pair.refresh,
        "refreshExpiresAt": pair.refresh_expires_at_ms,
    }


async def _end_sign_in(desk: Desk, sign_in_id: str) -> None:
    # In this order: a repeat of what failed in between ends the rest.
    await desk.revocations.end_sign_in(sign_in_id)
    await desk.sign_ins.end(sign_in_id)


ROUTES = (
    Route("POST", "/api/v1/auth/register", PUBLIC, post_register, Registration),
    Route("POST", "/api/v1/auth/login", PUBLIC, post_login, Credentials),
    Route("POST", "/api/v1/auth/refresh", PUBLIC, post_refresh, RefreshRequest),
    Route("POST", "/api/v1/auth/logout", PUBLIC, post_logout, RefreshRequest),
    Route("POST", "/api/v1/auth/otp/request", PUBLIC, post_code_request, CodeRequest),
    Route("POST", "/api/v1/auth/otp/verify", PUBLIC, post_code_verify, CodeVerification),
)
