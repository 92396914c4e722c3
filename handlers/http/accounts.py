"""Account endpoints: register, sign in by password or code, refresh tokens, sign out."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import structlog
from aiohttp import web

from dispatch.accounts.attempts import Attempt, Attempts, Method
from dispatch.accounts.revocations import RevocationRequest, Revocations, identity_subject
from dispatch.accounts.sign_ins import RefreshTokenReused, SignIn, SignIns
from dispatch.accounts.store import (
    Account,
    Accounts,
    Login,
    NewCredentials,
)
from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.settings import Registration as RegistrationSetting
from dispatch.wire.http.accounts import (
    CodeRequest,
    CodeVerification,
    Credentials,
    RefreshRequest,
    Registration,
)
from dispatch.wire.http.base import OwnerType
from handlers.http.framework.envelope import (
    HTTP_EDGE,
    PUBLIC,
    Created,
    Route,
    address_subject,
    client_network,
    enforce_rate_limit,
    read_body,
)
from handlers.sessions.auth import AUDIENCE_OF, RefreshClaims, TokenRefused
from handlers.sessions.passwords import Passwords
from handlers.sessions.rate_limits import (
    CODE_PHONE_RATE,
    CODE_RATE,
    SIGN_IN_RATE,
)
from handlers.sessions.sign_in_codes import (
    SignInCodes,
    challenge_of,
    network_source,
    source_of_challenge,
)

# A revocation covers all tokens issued within its second; tokens dated one second later are valid.
_AFTER_REVOCATION_MS = 1_000
_TOO_MANY_FROM_ADDRESS = "too many tries from your address"
_TOO_MANY = "too many tries; wait some minutes"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsContext:
    """What the account endpoints use."""

    accounts: Accounts
    sign_ins: SignIns
    revocations: Revocations
    passwords: Passwords
    attempts: Attempts
    sign_in_codes: SignInCodes
    registration: RegistrationSetting


ACCOUNTS = web.AppKey("accounts", AccountsContext)


class TokensView(TypedDict):
    """The tokens of a sign-in. Units: Unix milliseconds."""

    userId: str
    userType: str
    accessToken: str
    accessExpiresAt: int
    refreshToken: str
    refreshExpiresAt: int


class SentCodeView(TypedDict):
    """A code was sent; under --dev without a gateway it is returned. Units: milliseconds.

    `challengeId` in the verification says that the caller is the one who asked.
    """

    expiresInMs: int
    challengeId: str
    devCode: NotRequired[str]


class EmptyView(TypedDict):
    """No data."""


async def post_register(request: web.Request) -> Created[TokensView]:
    """Create an account; a repeat with the same password signs in.

    Errors: Refused REGISTRATION_CLOSED for a role that may not register here; CONFLICT if the
    phone has an account with another password; RATE_LIMITED.
    """
    context, body = request.app[ACCOUNTS], await read_body(request, Registration)
    if not _may_register(context, body.user_type):
        raise _registration_closed(body.user_type)
    login = Login(body.user_type, body.phone.e164)
    attempt = await _begin_attempt(request, login, "by_password")
    found = await context.accounts.find(login)
    if found is None:
        password_hash = await context.passwords.hash(body.password)
        credentials = NewCredentials(password_hash=password_hash, name=body.name)
        # None: a copy of this request was faster.
        found = await context.accounts.create(login, credentials)
        found = found or await context.accounts.find(login)
    if found is None or not await context.passwords.matches(found.password_hash, body.password):
        raise Refused(Refusal.CONFLICT, "this phone has an account")
    await context.attempts.succeed(attempt, is_owner=found.phone_verified_at is not None)
    return Created(await _begin_sign_in(request, login, found))


async def post_login(request: web.Request) -> TokensView:
    """Sign in by password.

    Errors: Refused WRONG_CREDENTIALS, after the same work with and without an account;
    NOT_APPROVED for one that is suspended or closed; RATE_LIMITED.
    """
    context, body = request.app[ACCOUNTS], await read_body(request, Credentials)
    login = Login(body.user_type, body.phone.e164)
    attempt = await _begin_attempt(request, login, "by_password")
    found = await context.accounts.find(login)
    password_hash = found.password_hash if found else None
    if not await context.passwords.matches(password_hash, body.password) or found is None:
        raise Refused(Refusal.WRONG_CREDENTIALS, "no such account, or another password")
    await context.attempts.succeed(attempt, is_owner=found.phone_verified_at is not None)
    return await _begin_sign_in(request, login, found)


async def post_refresh(request: web.Request) -> TokensView:
    """Exchange a refresh token, which is valid once, for the next pair of tokens.

    Errors: TokenRefused. A token that is used twice ends its sign-in, for both who hold it.
    """
    context, edge = request.app[ACCOUNTS], request.app[HTTP_EDGE]
    body = await read_body(request, RefreshRequest)
    claims = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    try:
        renewed = await context.sign_ins.renew(claims.sign_in, claims.renewal_count)
    except RefreshTokenReused as reused:
        log.warning("refresh_token_reused", user_id=reused.sign_in.user_id)
        await _end_sign_in(context, claims.sign_in)
        raise TokenRefused("token_invalid") from None
    if renewed is None:
        raise TokenRefused("token_invalid")
    return _tokens_view(request, renewed, edge.clock.now_ms())


async def post_logout(request: web.Request) -> EmptyView:
    """End a sign-in; its sockets are closed within five seconds. Errors: TokenRefused."""
    edge, body = request.app[HTTP_EDGE], await read_body(request, RefreshRequest)
    claims = edge.tokens.read_refresh(body.refresh_token, edge.clock.now_ms())
    await _end_sign_in(request.app[ACCOUNTS], claims.sign_in)
    return {}


async def post_code_request(request: web.Request) -> SentCodeView:
    """Send a six-digit code to a phone, with or without an account.

    Errors: Refused SERVICE_DISABLED if no codes are sent; COUNTRY_NOT_SERVED; RATE_LIMITED;
    UNAVAILABLE.
    """
    context, edge = request.app[ACCOUNTS], request.app[HTTP_EDGE]
    body = await read_body(request, CodeRequest)
    login, network = Login(body.user_type, body.phone.e164), client_network(request)
    context.sign_in_codes.require_allowed(login)
    await enforce_rate_limit(
        request, edge.limits.code_address_rate, address_subject(request), _TOO_MANY_FROM_ADDRESS
    )
    # By phone over all roles: the owner of the phone reads the codes of each.
    await enforce_rate_limit(request, CODE_RATE, f"{login.phone}:{network}", _TOO_MANY)
    source = network_source(edge.tokens, login, network)
    may_send = await context.attempts.is_known(login, source) or await edge.limits.take(
        CODE_PHONE_RATE, login.phone, edge.clock.monotonic_s()
    )
    answer = await context.sign_in_codes.send(edge.tokens, login, may_send=may_send)
    return {
        "expiresInMs": answer.until_ms - edge.clock.now_ms(),
        "challengeId": challenge_of(edge.tokens, login, source),
        **answer.sent,
    }


async def post_code_verify(request: web.Request) -> TokensView | Created[TokensView]:
    """Sign in by a code; a phone without an account gets one, where the role may register here.

    `password` replaces the account's password and ends all earlier sign-ins.

    Errors: Refused WRONG_CREDENTIALS; REGISTRATION_CLOSED; RATE_LIMITED.
    """
    context, edge = request.app[ACCOUNTS], request.app[HTTP_EDGE]
    body = await read_body(request, CodeVerification)
    login = Login(body.user_type, body.phone.e164)
    attempt = await _begin_attempt(request, login, "by_code", body.challenge_id)
    code = await context.sign_in_codes.find(edge.tokens, login, body.code)
    if code is None or not await context.sign_in_codes.codes.consume(login, code):
        raise Refused(Refusal.WRONG_CREDENTIALS, "a wrong code, or an expired one")
    await context.attempts.succeed(attempt, is_owner=True)
    password_hash = await context.passwords.hash(body.password) if body.password else None
    credentials = NewCredentials(
        password_hash=password_hash, name=body.name, is_phone_verified=True
    )
    if _may_register(context, body.user_type):
        created = await context.accounts.create(login, credentials)
        if created is not None:
            return Created(await _begin_sign_in(request, login, created))
    elif await context.accounts.find(login) is None:
        raise _registration_closed(body.user_type)
    return await _sign_in_verified(request, login, credentials)


async def _sign_in_verified(
    request: web.Request, login: Login, credentials: NewCredentials
) -> TokensView:
    """Sign in to an existing account whose phone was just verified by a code."""
    context = request.app[ACCOUNTS]
    before = await context.accounts.find(login)
    assert before is not None, "an account that could not be created exists"
    after = await context.accounts.verify_phone(login, before, credentials)
    if after.sessions_valid_from == before.sessions_valid_from:
        return await _begin_sign_in(request, login, after)
    # The password changed: earlier sign-ins have ended, and their access tokens are revoked.
    owner = identity(AUDIENCE_OF[login.user_type], after.user_id)
    revocation = RevocationRequest(
        [identity_subject(owner)], after.user_id, "password changed by code"
    )
    revoked = await context.revocations.add(revocation, {}, None)
    issued_at_ms: int = revoked["revokedAt"] + _AFTER_REVOCATION_MS
    return await _begin_sign_in(request, login, after, issued_at_ms)


def _may_register(context: AccountsContext, user_type: OwnerType) -> bool:
    """Whether the settings let this role make an account here."""
    return context.registration == "all" or (
        context.registration == "users" and user_type == "USER"
    )


def _registration_closed(user_type: OwnerType) -> Refused:
    return Refused(Refusal.REGISTRATION_CLOSED, f"{user_type} accounts are not made here")


async def _begin_attempt(
    request: web.Request, login: Login, method: Method, challenge: str | None = None
) -> Attempt:
    """Count an attempt by the caller's network, or by the one that asked for the code.

    Errors: Refused RATE_LIMITED.
    """
    edge, network = request.app[HTTP_EDGE], client_network(request)
    await enforce_rate_limit(
        request, edge.limits.sign_in_address_rate, address_subject(request), _TOO_MANY_FROM_ADDRESS
    )
    source = source_of_challenge(edge.tokens, login, challenge)
    # By phone over all roles, as codes are.
    subject = f"{login.phone}:{source or network}:{method}"
    await enforce_rate_limit(request, SIGN_IN_RATE, subject, _TOO_MANY)
    source = source or network_source(edge.tokens, login, network)
    attempt = await request.app[ACCOUNTS].attempts.begin(login, method, source)
    if attempt.wait_ms:
        details: dict[str, object] = {"retryAfterMs": attempt.wait_ms}
        raise Refused(Refusal.RATE_LIMITED, _TOO_MANY, details)
    return attempt


async def _begin_sign_in(
    request: web.Request, login: Login, account: Account, issued_at_ms: int | None = None
) -> TokensView:
    sign_in = await request.app[ACCOUNTS].sign_ins.begin(login, account, issued_at_ms)
    return _tokens_view(request, sign_in, issued_at_ms or request.app[HTTP_EDGE].clock.now_ms())


def _tokens_view(request: web.Request, sign_in: SignIn, issued_at_ms: int) -> TokensView:
    claims = RefreshClaims(sign_in.sign_in_id, sign_in.generation)
    tokens = request.app[HTTP_EDGE].tokens
    pair = tokens.issue_pair(sign_in.user_type, sign_in.user_id, claims, issued_at_ms)
    return {
        "userId": sign_in.user_id,
        "userType": sign_in.user_type,
        "accessToken": pair.access,
        "accessExpiresAt": pair.access_expires_at_ms,
        "refreshToken": pair.refresh,
        "refreshExpiresAt": pair.refresh_expires_at_ms,
    }


async def _end_sign_in(context: AccountsContext, sign_in_id: str) -> None:
    # In this order: if the second write fails, a repeat finds the sign-in and ends the rest.
    await context.revocations.end_sign_in(sign_in_id)
    await context.sign_ins.end(sign_in_id)


ROUTES = (
    Route("POST", "/api/v1/auth/register", PUBLIC, post_register, Registration),
    Route("POST", "/api/v1/auth/login", PUBLIC, post_login, Credentials),
    Route("POST", "/api/v1/auth/refresh", PUBLIC, post_refresh, RefreshRequest),
    Route("POST", "/api/v1/auth/logout", PUBLIC, post_logout, RefreshRequest),
    Route("POST", "/api/v1/auth/otp/request", PUBLIC, post_code_request, CodeRequest),
    Route("POST", "/api/v1/auth/otp/verify", PUBLIC, post_code_verify, CodeVerification),
)
