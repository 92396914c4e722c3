"""From a token to a Principal: who speaks, and in which namespace he may."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jwt
import msgspec

from dispatch.ids import is_id, new_id
from dispatch.keys import Identity, identity
from dispatch.settings import Settings
from dispatch.wire.commands import Audience

UserType = Literal["USER", "VENDOR", "RIDER", "ADMIN"]
TokenCode = Literal["token_required", "token_invalid", "token_expired"]

# Source: wire contract, Tokens.
AUDIENCE_OF: dict[str, Audience] = {
    "USER": "user",
    "VENDOR": "vendor",
    "RIDER": "rider",
    "ADMIN": "ops",
}
TOKEN_TTL_S_MAX = 30 * 86_400
# Source: RFC 7519 section 4.1.5, a small leeway for issuers whose clock is ahead of ours; `exp` has
# none, a socket must not outlive its token.
ISSUER_LEEWAY_S = 30
# Source: a token of this contract has 200 to 400 bytes; frames and headers end at 8 to 16 KiB.
TOKEN_CHARS_MAX = 4096

# What one sign-in gives: an app renews it while it is used, and the thief of an access token has an
# hour. Source: RFC 9700 section 2.2, short lives for what cannot be bound to its sender.
ACCESS_TTL_S = 3_600
REFRESH_TTL_S = TOKEN_TTL_S_MAX

# Tokens whose signature was found to be good, so that an app that comes again, or asks again, costs
# a look. Source: measured 2026-11-21, 0.15 ms a token, half of what a refused connect takes; a
# thousand bytes each.
VERIFIED_TOKENS_MAX = 4096

_ALGORITHM = "HS256"
_ACCESS_CLAIMS = ("exp", "iat", "userId", "userType")
# No claim of an access token: the one is never taken for the other.
_REFRESH_CLAIMS = ("exp", "iat", "sid", "turn")
_MESSAGES: dict[TokenCode, str] = {
    "token_required": "a bearer token is required",
    "token_invalid": "the token is not valid",
    "token_expired": "the token has expired",
}


class TokenRefused(Exception):
    """The token does not let its bearer in."""

    def __init__(self, code: TokenCode) -> None:
        super().__init__(code)
        self.code: TokenCode = code

    def __str__(self) -> str:
        return _MESSAGES[self.code]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who speaks, as his token says. Units: Unix milliseconds."""

    user_type: UserType
    id: str
    audience: Audience
    issued_at_ms: int
    expires_at_ms: int
    # The token's `jti`, or a hash of the whole of it.
    token_id: str
    # The sign-in that it came from (`sid`); None where another service has issued it.
    sign_in: str | None = None

    @property
    def identity(self) -> Identity:
        """The name under which he receives events."""
        return identity(self.audience, self.id)


class RefreshClaims(NamedTuple):
    """What a refresh token says: which sign-in, and how often it has been renewed."""

    sign_in: str
    renewal_count: int


class TokenPair(NamedTuple):
    """An access token and the refresh token that gets the next one. Units: Unix milliseconds."""

    access: str
    access_expires_at_ms: int
    refresh: str
    refresh_expires_at_ms: int


def _never_revoked(_principal: Principal) -> bool:
    return False


class Tokens:
    """Signs and verifies tokens; `is_revoked` knows which of them were recalled."""

    def __init__(
        self, settings: Settings, is_revoked: Callable[[Principal], bool] = _never_revoked
    ) -> None:
        self._is_revoked = is_revoked
        self._secret = settings.jwt_secret
        self._keys = settings.keys_by_id
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._verified_claims: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._options: Any = {
            "verify_aud": settings.jwt_audience is not None,
            "verify_iss": settings.jwt_issuer is not None,
            # The library reads the machine's clock; ours is asked below instead.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        }

    def verify(self, token: object, now_ms: int) -> Principal:
        """The bearer of a token.

        Units: Unix milliseconds.
        Errors: TokenRefused; `token_expired` only where nothing else is wrong.
        """
        principal = self.read(token, now_ms)
        if self._is_revoked(principal):
            raise TokenRefused("token_invalid")
        return principal

    def read(self, token: object, now_ms: int) -> Principal:
        """Whose token it is, also where it was revoked. Errors: as `verify`."""
        claims = self._verified_claims.get(token) if isinstance(token, str) else None
        text = str(token)
        if claims is None:
            claims = self._verified_claims[text] = self._decode(token, _ACCESS_CLAIMS)
            if len(self._verified_claims) > VERIFIED_TOKENS_MAX:
                self._verified_claims.popitem(last=False)
        else:
            self._verified_claims.move_to_end(text)
        # Its time is asked for whenever it comes.
        return _to_principal(claims, text, now_ms)

    def read_refresh(self, token: object, now_ms: int) -> RefreshClaims:
        """What a refresh token says; whether that still holds, the sign-in says.

        Errors: as `verify`.
        """
        claims = self._decode(token, _REFRESH_CLAIMS)
        sign_in, number = claims["sid"], claims["turn"]
        if not is_id(sign_in) or type(number) is not int or number < 0:
            raise TokenRefused("token_invalid")
        _check_times(claims, now_ms)
        return RefreshClaims(sign_in, number)

    def _decode(self, token: object, required: tuple[str, ...]) -> dict[str, Any]:
        if token is None or token == "":
            raise TokenRefused("token_required")
        if not isinstance(token, str) or len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused("token_invalid")
        options: Any = {**self._options, "require": list(required)}
        try:
            return jwt.decode(
                token,
                self._key_for(token),
                algorithms=[_ALGORITHM],
                options=options,
                issuer=self._issuer,
                audience=self._audience,
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            # ValueError: characters outside of ASCII. RecursionError: a header of brackets.
            raise TokenRefused("token_invalid") from None

    def issue(self, user_type: UserType, owner_id: str, ttl_s: int, now_ms: int) -> str:
        """A token for `owner`, valid for `ttl_s` seconds from `now_ms`."""
        assert is_id(owner_id), "an id of the contract"
        return self._sign({"userId": owner_id, "userType": user_type}, ttl_s, now_ms)

    def issue_pair(
        self, user_type: UserType, owner_id: str, refresh_claims: RefreshClaims, now_ms: int
    ) -> TokenPair:
        """The tokens of one turn of a sign-in. Units: Unix milliseconds."""
        assert is_id(owner_id), "an id of the contract"
        who = {"userId": owner_id, "userType": user_type, "sid": refresh_claims.sign_in}
        again = {"sid": refresh_claims.sign_in, "turn": refresh_claims.renewal_count}
        return TokenPair(
            access=self._sign(who, ACCESS_TTL_S, now_ms),
            access_expires_at_ms=now_ms // 1000 * 1000 + ACCESS_TTL_S * 1000,
            refresh=self._sign(again, REFRESH_TTL_S, now_ms),
            refresh_expires_at_ms=now_ms // 1000 * 1000 + REFRESH_TTL_S * 1000,
        )

    def keyed_hash(self, text: str) -> str:
        """A name for a short secret that is kept: who reads it cannot try out the secret."""
        key = next(iter(self._keys.values()), self._secret)
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

    def _sign(self, claims_extra: dict[str, Any], ttl_s: int, now_ms: int) -> str:
        assert 0 < ttl_s <= TOKEN_TTL_S_MAX, "a bounded lifetime"
        now_s = now_ms // 1000
        claims = {**claims_extra, "iat": now_s, "exp": now_s + ttl_s, "jti": new_id("tok")}
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        key_id = next(iter(self._keys), None)
        secret = self._secret if key_id is None else self._keys[key_id]
        headers = None if key_id is None else {"kid": key_id}
        return jwt.encode(claims, secret, algorithm=_ALGORITHM, headers=headers)

    def _key_for(self, token: str) -> str:
        """The key that a token must be signed with.

        Errors: PyJWTError where it names none of ours.
        """
        key_id = jwt.get_unverified_header(token).get("kid") if self._keys else None
        # Issuers that know of one key only may put there what they like.
        secret = self._secret if key_id is None else self._keys.get(key_id)
        if not secret:
            raise jwt.InvalidKeyError("an unknown kid, or none where one is needed")
        return secret


def _check_times(claims: dict[str, Any], now_ms: int) -> float:
    """When a token of ours ends. Units: Unix seconds.

    Errors: TokenRefused for times that no issuer of ours would write, and for one that has ended.
    """
    now_s = now_ms / 1000
    expires_s = _numeric_date(claims["exp"])
    latest_s = now_s + ISSUER_LEEWAY_S
    if _numeric_date(claims["iat"]) > latest_s or _numeric_date(claims.get("nbf", 0)) > latest_s:
        raise TokenRefused("token_invalid")
    if expires_s > latest_s + TOKEN_TTL_S_MAX:
        raise TokenRefused("token_invalid")
    if expires_s <= now_s:
        raise TokenRefused("token_expired")
    return expires_s


def _to_principal(claims: dict[str, Any], token: str, now_ms: int) -> Principal:
    # A claim may be of any JSON type, also one that cannot be looked up.
    user_type, owner, jti = claims["userType"], claims["userId"], claims.get("jti")
    sign_in = claims.get("sid")
    audience = AUDIENCE_OF.get(user_type) if isinstance(user_type, str) else None
    if audience is None or not is_id(owner) or not isinstance(jti, str | None):
        raise TokenRefused("token_invalid")
    # Told last: an app whose token is good but old fetches a new one.
    expires_s = _check_times(claims, now_ms)
    return Principal(
        user_type=cast("UserType", user_type),
        id=owner,
        audience=audience,
        issued_at_ms=int(_numeric_date(claims["iat"]) * 1000),
        expires_at_ms=int(expires_s * 1000),
        # Other services may put anything there.
        sign_in=sign_in if is_id(sign_in) else None,
        token_id=jti or f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
    )


def _numeric_date(value: object) -> float:
    # Source: RFC 7519 section 2, NumericDate; `bool` is an int to Python and not one to JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("token_invalid")
    # Beyond float's exact integers no date is meant; NaN and infinities fail here too.
    if not 0 <= value < 2**53:
        raise TokenRefused("token_invalid")
    return float(value)
