"""Accounts: whoever has none elsewhere registers here, signs in and stays signed in."""

import secrets
from typing import Any

import structlog
from aiohttp import web

from dispatch.accounts.revocations import Wish, of_identity
from dispatch.accounts.sign_ins import Reused, SignIn
from dispatch.accounts.store import (
    CODE_MS,
    Account,
    Login,
    Proof,
    login,
)
from dispatch.errors import Refusal, Refused
from dispatch.wire.http import requests
from handlers.app.contexts import DESK, Desk
from handlers.http.framework.envelope import (
    EDGE,
    PUBLIC,
    Created,
    Route,
    read_body,
    take,
)
from handlers.sessions.auth import AUDIENCE_OF, TokenRefused, Turn
from handlers.sessions.rate_limits import (
    CODES,
    CODES_FROM,
    SIGN_INS,
    SIGN_INS_FROM,
    Rate,
)

# A recall counts all tokens of its second as older; the next one is of the second after it.
_AFTER_A_RECALL_MS = 1_000

log = structlog.get_logger(__name__)


async def post_register(request: web.Request) -> Any:
    """Make an account; whoever says it again with the same password is signed in.

    Errors: Refused CONFLICT where the phone has an account with another password.
    """
    desk, body = request.app[DESK], await read_body(request, requests.Registration)
    who = login(body.user_type, body.phone)
    await _try(request, desk, who)
    found = await desk.accounts.find(who)
    if found is None:
        kept = await desk.passwords.hash(body.password)
        made = await desk.accounts.create(who, Proof(password_hash=kept, name=body.name))
        # None: a copy of this request was faster.
        found = made or await desk.accounts.find(who)
    if found is None or not await desk.passwords.matches(found.password_hash, body.password):
        raise Refused(Refusal.CONFLICT, "this phone has an account")
    await desk.accounts.forget_tries(who)
    return Created(await _signed_in(request, who, found))


async def post_login(request: web.Request) -> Any:
    """Sign in by password.

    Errors: Refused WRONG_CREDENTIALS, after the same work whether there is such an account.
    """
    desk, body = request.app[DESK], await read_body(request, requests.Credentials)
    who = login(body.user_type, body.phone)
    await _try(request, desk, who)
    found = await desk.accounts.find(who)
    kept = found.password_hash if found else None
    if not await desk.passwords.matches(kept, body.password) or found is None:
        raise Refused(Refusal.WRONG_CREDENTIALS, "no such account, or another password")
    await desk.accounts.forget_tries(who)
    return await _signed_in(request, who, found)


async def post_refresh(request: web.Request) -> Any:
    """The next pair of tokens for a refresh token, which is good once.

    Errors: TokenRefused; where a token comes a second time its sign-in ends, for both who have it.
    """
    desk, edge = request.app[DESK], request.app[EDGE]
    body = await read_body(request, requests.Renewal)
    turn = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    try:
        renewed = await desk.sign_ins.renew(turn.sign_in, turn.number)
    except Reused as reused:
        log.warning("refresh_token_reused", user=reused.sign_in.user_id)
        await _end(desk, turn.sign_in)
        raise TokenRefused("token_invalid") from None
    if renewed is None:
        raise TokenRefused("token_invalid")
    return _told(request, renewed, edge.clock.now_ms())


async def post_logout(request: web.Request) -> Any:
    """End a sign-in; its sockets are closed within five seconds. Errors: TokenRefused."""
    edge, body = request.app[EDGE], await read_body(request, requests.Renewal)
    turn = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    await _end(request.app[DESK], turn.sign_in)
    return {}


async def post_code_request(request: web.Request) -> Any:
    """Send six digits to a phone, whether it has an account or not.

    Errors: Refused SERVICE_DISABLED where nobody sends codes.
    """
    desk, edge = request.app[DESK], request.app[EDGE]
    body = await read_body(request, requests.CodeWish)
    who = login(body.user_type, body.phone)
    desk.courier.check()
    await _limit(request, CODES_FROM, CODES, who)
    code = f"{secrets.randbelow(1_000_000):06d}"
    await desk.accounts.keep_code(who, edge.tokens.seal(f"{who.who}:{code}"))
    shown = await desk.courier.send(who.phone, code, edge.clock.now_ms() + CODE_MS)
    return {"expiresInMs": CODE_MS, **shown}


async def post_code_verify(request: web.Request) -> Any:
    """Sign in by the code that came; a phone without an account gets one.

    With `password` it is the password from now on, and whoever had signed in before is out.

    Errors: Refused WRONG_CREDENTIALS.
    """
    desk, edge = request.app[DESK], request.app[EDGE]
    body = await read_body(request, requests.CodeProof)
    who = login(body.user_type, body.phone)
    await _limit(request, SIGN_INS_FROM, SIGN_INS, who, "by_code")
    if not await desk.accounts.take_code(who, edge.tokens.seal(f"{who.who}:{body.code}")):
        raise Refused(Refusal.WRONG_CREDENTIALS, "another code, or one that is over")
    kept = await desk.passwords.hash(body.password) if body.password else None
    proof = Proof(password_hash=kept, name=body.name, is_proven=True)
    made = await desk.accounts.create(who, proof)
    if made is not None:
        return Created(await _signed_in(request, who, made))
    return await _proven(request, who, proof)


async def _proven(request: web.Request, who: Login, proof: Proof) -> dict[str, Any]:
    desk = request.app[DESK]
    before = await desk.accounts.find(who)
    assert before is not None, "an account that could not be made is there"
    after = await desk.accounts.prove(who, before, proof)
    await desk.accounts.forget_tries(who)
    if after.since == before.since:
        return await _signed_in(request, who, after)
    owner = of_identity(f"{AUDIENCE_OF[who.user_type]}:{after.user_id}")
    wish = Wish([owner], owner.removeprefix("identity:"), "password changed by code")
    recalled = await desk.revocations.add(wish, {}, None)
    return await _signed_in(request, who, after, recalled["revokedAt"] + _AFTER_A_RECALL_MS)


async def _try(request: web.Request, desk: Desk, who: Login) -> None:
    """Count a try by password. Errors: Refused RATE_LIMITED."""
    await _limit(request, SIGN_INS_FROM, SIGN_INS, who)
    wait_ms = await desk.accounts.count_try(who)
    if wait_ms:
        details: dict[str, object] = {"retryAfterMs": wait_ms}
        raise Refused(Refusal.RATE_LIMITED, "locked after five failures", details)


async def _limit(
    request: web.Request, everyones: Rate, own: Rate, who: Login, how: str = "by_password"
) -> None:
    """Take from the buckets of an address and of a login. Errors: Refused RATE_LIMITED."""
    address = request.app[EDGE].proxies.client_of(request)
    await take(request, everyones, f"from:{address}", "too many tries from your address")
    await take(request, own, f"{who.who}:{how}", "too many tries; wait some minutes")


async def _signed_in(
    request: web.Request, who: Login, account: Account, now_ms: int | None = None
) -> dict[str, Any]:
    begun = await request.app[DESK].sign_ins.begin(who, account)
    return _told(request, begun, now_ms or request.app[EDGE].clock.now_ms())


def _told(request: web.Request, sign_in: SignIn, now_ms: int) -> dict[str, Any]:
    turn = Turn(sign_in.sign_in_id, sign_in.turn)
    tokens = request.app[EDGE].tokens
    pair = tokens.issue_pair(sign_in.user_type, sign_in.user_id, turn, now_ms)
    return {
        "userId": sign_in.user_id,
        "userType": sign_in.user_type,
        "accessToken": pair.access,
        "accessExpiresAt": pair.access_until_ms,
        "refreshToken": pair.refresh,
        "refreshExpiresAt": pair.refresh_until_ms,
    }


async def _end(desk: Desk, sign_in_id: str) -> None:
    # In this order: a repeat of what failed in between ends the rest.
    await desk.revocations.end_sign_in(sign_in_id)
    await desk.sign_ins.end(sign_in_id)


ROUTES = (
    Route("POST", "/api/v1/auth/register", PUBLIC, post_register, requests.Registration),
    Route("POST", "/api/v1/auth/login", PUBLIC, post_login, requests.Credentials),
    Route("POST", "/api/v1/auth/refresh", PUBLIC, post_refresh, requests.Renewal),
    Route("POST", "/api/v1/auth/logout", PUBLIC, post_logout, requests.Renewal),
    Route("POST", "/api/v1/auth/otp/request", PUBLIC, post_code_request, requests.CodeWish),
    Route("POST", "/api/v1/auth/otp/verify", PUBLIC, post_code_verify, requests.CodeProof),
)
