"""Authentication: verifies and issues JSON Web Tokens; a token names a principal."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

import jwt
import msgspec

from dispatch.ids import is_id, new_id
from dispatch.keys import Identity, identity
from dispatch.settings import Settings
from dispatch.wire.commands import Audience

UserType = Literal["USER", "VENDOR", "RIDER", "ADMIN"]
TokenCode = Literal["token_required", "token_invalid", "token_expired"]

# Claims as decoded JSON: any value may be of any type.
Claims = Mapping[str, object]

# Source: `docs/contract.md`, tokens.
AUDIENCE_OF: Mapping[str, Audience] = {
    "USER": "user",
    "VENDOR": "vendor",
    "RIDER": "rider",
    "ADMIN": "ops",
}
TOKEN_TTL_S_MAX = 30 * 86_400
# Source: RFC 7519 section 4.1.5, a small leeway for issuers whose clock is ahead of ours. `exp` has
# none: a socket must not outlive its token.
ISSUER_LEEWAY_S = 30
# Source: chosen; a token with the claims of the contract has 200 to 400 bytes, and HTTP headers are
# limited to 8 to 16 KiB.
TOKEN_CHARS_MAX = 4096

# Source: RFC 9700 section 2.2, short lifetimes for tokens that cannot be bound to their sender: a
# stolen access token works for one hour.
ACCESS_TTL_S = 3_600
REFRESH_TTL_S = TOKEN_TTL_S_MAX

# Tokens whose signature was verified, kept so that a repeated token costs a dictionary look-up.
# Source: measured 2026-11-21, a verification takes 0.15 ms, half of what a refused connect takes;
# an entry takes about 1,000 bytes.
VERIFIED_TOKENS_MAX = 4096

_ALGORITHM = "HS256"
_ACCESS_CLAIMS = ("exp", "iat", "userId", "userType")
# None of them is required of an access token: neither kind is accepted in place of the other.
_REFRESH_CLAIMS = ("exp", "iat", "sid", "turn")
_MESSAGES: dict[TokenCode, str] = {
    "token_required": "a bearer token is required",
    "token_invalid": "the token is not valid",
    "token_expired": "the token has expired",
}


class TokenRefused(Exception):
    """A token was not accepted; `code` says why, in the words of the contract."""

    def __init__(self, code: TokenCode) -> None:
        super().__init__(code)
        self.code: TokenCode = code

    def __str__(self) -> str:
        return _MESSAGES[self.code]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated bearer of a token. Units: Unix milliseconds."""

    user_type: UserType
    id: str
    audience: Audience
    issued_at_ms: int
    expires_at_ms: int
    # The token's `jti`, or a hash of the token where it has none.
    token_id: str
    # The sign-in that the token was issued for (`sid`); None if another service issued it.
    sign_in: str | None = None

    @property
    def identity(self) -> Identity:
        """The identity that receives events, `<audience>:<id>`."""
        return identity(self.audience, self.id)


class RefreshClaims(NamedTuple):
    """Contents of a refresh token: its sign-in, and how often that was renewed."""

    sign_in: str
    renewal_count: int


class TokenPair(NamedTuple):
    """An access token and the refresh token for the next pair. Units: Unix milliseconds."""

    access: str
    access_expires_at_ms: int
    refresh: str
    refresh_expires_at_ms: int


def _never_revoked(_principal: Principal) -> bool:
    return False


class Tokens:
    """Issues and verifies tokens, signed with HMAC-SHA-256.

    `is_revoked` tells whether a principal's token was revoked before its end.
    """

    def __init__(
        self,
        settings: Settings,
        is_revoked: Callable[[Principal], bool] = _never_revoked,
        verified_tokens_max: int = VERIFIED_TOKENS_MAX,
    ) -> None:
        self._is_revoked = is_revoked
        self._verified_tokens_max = verified_tokens_max
        self._secret = settings.jwt_secret
        self._keys = settings.keys_by_id
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._verified_claims: OrderedDict[str, Claims] = OrderedDict()
        self._options: dict[str, bool] = {
            "verify_aud": settings.jwt_audience is not None,
            "verify_iss": settings.jwt_issuer is not None,
            # The library would read the system clock; `_check_times` uses the caller's time.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
            # Not a claim of the contract; some issuers put a number into it. `jti` is checked here.
            "verify_sub": False,
            "verify_jti": False,
        }

    def verify(self, token: object, now_ms: int) -> Principal:
        """Authenticate the bearer of an access token.

        Units: Unix milliseconds.
        Errors: TokenRefused; `token_expired` only if nothing else is wrong.
        """
        principal = self.read(token, now_ms)
        if self._is_revoked(principal):
            raise TokenRefused("token_invalid")
        return principal

    def read(self, token: object, now_ms: int) -> Principal:
        """Authenticate the bearer of an access token, even if it was revoked.

        Units: Unix milliseconds.
        Errors: as `verify`.
        """
        claims = self._verified_claims.get(token) if isinstance(token, str) else None
        text = str(token)
        if claims is None:
            claims = self._verified_claims[text] = self._decode(token, _ACCESS_CLAIMS)
            if len(self._verified_claims) > self._verified_tokens_max:
                self._verified_claims.popitem(last=False)
        else:
            self._verified_claims.move_to_end(text)
        # Only the signature is cached; the times are checked on every use.
        return _to_principal(claims, text, now_ms)

    def read_refresh(self, token: object, now_ms: int) -> RefreshClaims:
        """Read a refresh token; whether its sign-in still exists is not checked here.

        Units: Unix milliseconds.
        Errors: as `verify`.
        """
        claims = self._decode(token, _REFRESH_CLAIMS)
        sign_in, renewal_count = _to_id(claims["sid"]), claims["turn"]
        # `bool` is an int to Python and not one to JSON.
        if sign_in is None or type(renewal_count) is not int or renewal_count < 0:
            raise TokenRefused("token_invalid")
        _check_times(claims, now_ms)
        return RefreshClaims(sign_in, renewal_count)

    def _decode(self, token: object, required: tuple[str, ...]) -> Claims:
        if token is None or token == "":
            raise TokenRefused("token_required")
        if not isinstance(token, str) or len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused("token_invalid")
        options: Any = {**self._options, "require": list(required)}
        try:
            # Its type is partly unknown: keys may be objects of a library we don't install.
            return jwt.decode(  # pyright: ignore[reportUnknownMemberType]
                token,
                self._key_for(token),
                algorithms=[_ALGORITHM],
                options=options,
                issuer=self._issuer,
                audience=self._audience,
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            # ValueError: characters outside of ASCII. RecursionError: a deeply nested header.
            raise TokenRefused("token_invalid") from None

    def issue(self, user_type: UserType, owner_id: str, ttl_s: int, now_ms: int) -> str:
        """Issue an access token that is valid for `ttl_s` seconds from `now_ms`.

        Units: seconds, Unix milliseconds.
        """
        assert is_id(owner_id), "an id of the contract"
        return self._sign({"userId": owner_id, "userType": user_type}, ttl_s, now_ms)

    def issue_pair(
        self, user_type: UserType, owner_id: str, refresh_claims: RefreshClaims, now_ms: int
    ) -> TokenPair:
        """Issue the access and refresh token of one renewal of a sign-in.

        Units: Unix milliseconds.
        """
        assert is_id(owner_id), "an id of the contract"
        access = {"userId": owner_id, "userType": user_type, "sid": refresh_claims.sign_in}
        refresh = {"sid": refresh_claims.sign_in, "turn": refresh_claims.renewal_count}
        return TokenPair(
            access=self._sign(access, ACCESS_TTL_S, now_ms),
            access_expires_at_ms=now_ms // 1000 * 1000 + ACCESS_TTL_S * 1000,
            refresh=self._sign(refresh, REFRESH_TTL_S, now_ms),
            refresh_expires_at_ms=now_ms // 1000 * 1000 + REFRESH_TTL_S * 1000,
        )

    def keyed_hash(self, text: str) -> str:
        """Hash a short secret under the signing key, so that a stored hash cannot be brute-forced.

        Shapes: 64 hex digits. Source: RFC 2104, HMAC.
        """
        key = next(iter(self._keys.values()), self._secret)
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

    def _sign(self, claims_extra: Claims, ttl_s: int, now_ms: int) -> str:
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
        return jwt.encode(  # pyright: ignore[reportUnknownMemberType]
            claims, secret, algorithm=_ALGORITHM, headers=headers
        )

    def _key_for(self, token: str) -> str:
        """The key that a token must be signed with.

        Errors: PyJWTError if its `kid` is unknown, or missing although one is needed.
        """
        key_id = jwt.get_unverified_header(token).get("kid") if self._keys else None
        # Without `JWT_KEYS` issuers share one key, and their `kid` is ignored.
        secret = self._secret if key_id is None else self._keys.get(key_id)
        if not secret:
            raise jwt.InvalidKeyError("an unknown kid, or none where one is needed")
        return secret


def _check_times(claims: Claims, now_ms: int) -> float:
    """Check `iat`, `nbf` and `exp`; returns when the token expires. Units: Unix seconds.

    Errors: TokenRefused for implausible times, and for a token that has expired.
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


def _to_principal(claims: Claims, token: str, now_ms: int) -> Principal:
    user_type, owner_id, jti = claims["userType"], _to_id(claims["userId"]), claims.get("jti")
    # A claim may be of any JSON type, also one that cannot be a dictionary key.
    audience = AUDIENCE_OF.get(user_type) if isinstance(user_type, str) else None
    if audience is None or owner_id is None or not isinstance(jti, str | None):
        raise TokenRefused("token_invalid")
    # Checked last: `token_expired` makes an app fetch a new token, so nothing else may be wrong.
    expires_s = _check_times(claims, now_ms)
    return Principal(
        user_type=cast("UserType", user_type),
        id=owner_id,
        audience=audience,
        issued_at_ms=int(_numeric_date(claims["iat"]) * 1000),
        expires_at_ms=int(expires_s * 1000),
        # Other issuers may use `sid` for anything.
        sign_in=_to_id(claims.get("sid")),
        token_id=jti or f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
    )


def _to_id(value: object) -> str | None:
    return value if isinstance(value, str) and is_id(value) else None


def _numeric_date(value: object) -> float:
    # Source: RFC 7519 section 2, NumericDate; `bool` is an int to Python and not one to JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("token_invalid")
    # Larger values are not exact as floats and are no dates; NaN and infinities fail here too.
    if not 0 <= value < 2**53:
        raise TokenRefused("token_invalid")
    return float(value)
