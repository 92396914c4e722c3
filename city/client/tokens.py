"""Signs access tokens for the simulated people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jwt

UserType = Literal["USER", "VENDOR", "RIDER", "ADMIN"]

# Source: docs/contract.md, a token is valid for at most 30 days; a day is longer than any demo.
TOKEN_LIFETIME_S = 24 * 3600
# Where `reeyo serve --dev` keeps the secret that it makes. Source: `reeyo token --help`.
DEV_SECRET_FILE = "dev-secret"  # noqa: S105 (a file's name)
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


class NoSecret(Exception):
    """Neither the environment nor the data folder has the server's secret."""


def make_token_signer(environ: Mapping[str, str], now_ms: Callable[[], int]) -> TokenSigner:
    """A signer with the environment's JWT_SECRET, else with the one that `--dev` made in DATA_DIR.

    Errors: NoSecret.
    """
    return TokenSigner(
        secret=environ.get("JWT_SECRET") or _read_dev_secret(environ),
        now_ms=now_ms,
        issuer=environ.get("JWT_ISSUER") or None,
        audience=environ.get("JWT_AUDIENCE") or None,
    )


def _read_dev_secret(environ: Mapping[str, str]) -> str:
    path = Path(environ.get("DATA_DIR") or "data") / DEV_SECRET_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise NoSecret(
            f"set JWT_SECRET to the server's, or DATA_DIR to its folder (no {path})"
        ) from error
