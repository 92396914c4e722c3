"""Signs access tokens for the simulated people."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import jwt

UserType = Literal["USER", "VENDOR", "RIDER", "ADMIN"]

# Source: docs/contract.md, a token is valid for at most 30 days; a day is longer than any demo.
TOKEN_LIFETIME_S = 24 * 3600
# Source: RFC 7518 section 3.2, a key for HS256 has at least the size of the hash.
SECRET_BYTES = 32
# Source: docs/contract.md. The Socket.IO namespace of each user type.
NAMESPACES: dict[UserType, str] = {
    "USER": "/user",
    "VENDOR": "/vendor",
    "RIDER": "/rider",
    "ADMIN": "/ops",
}


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """Signs tokens with the server's secret."""

    secret: str
    now_ms: Callable[[], int]
    issuer: str | None = None
    audience: str | None = None

    def sign(self, user_type: UserType, user_id: str) -> str:
        """A fresh token for one user."""
        issued = self.now_ms() // 1000
        claims: dict[str, object] = {
            "userId": user_id,
            "userType": user_type,
            "iat": issued,
            "exp": issued + TOKEN_LIFETIME_S,
        }
        if self.issuer:
            claims["iss"] = self.issuer
        if self.audience:
            claims["aud"] = self.audience
        return jwt.encode(claims, self.secret, algorithm="HS256")


def make_token_signer(environ: Mapping[str, str], now_ms: Callable[[], int]) -> TokenSigner:
    """A signer with the environment's JWT_SECRET, or with a random one where it has none."""
    return TokenSigner(
        secret=environ.get("JWT_SECRET") or secrets.token_urlsafe(SECRET_BYTES),
        now_ms=now_ms,
        issuer=environ.get("JWT_ISSUER") or None,
        audience=environ.get("JWT_AUDIENCE") or None,
    )
