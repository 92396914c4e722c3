"""Bodies of the account endpoints: register, sign in by password or code, refresh, sign out."""

from typing import Annotated

from msgspec import Meta

from dispatch.wire.http.base import DisplayName, OwnerType, Request
from dispatch.wire.phones import MobilePhone
from dispatch.wire.texts import opaque

# Source: NIST SP 800-63B section 5.1.1.2, at least eight characters and no composition rules; the
# upper bound limits the cost of a hash.
Password = Annotated[str, opaque(min_length=8, max_length=128)]
RefreshToken = Annotated[str, opaque(min_length=1, max_length=4096)]


class Registration(Request, frozen=True, kw_only=True):
    """A new account with a password."""

    user_type: OwnerType
    phone: MobilePhone
    password: Password
    name: DisplayName | None = None


class Credentials(Request, frozen=True, kw_only=True):
    """A sign-in by password."""

    user_type: OwnerType
    phone: MobilePhone
    password: Annotated[str, opaque(max_length=128)]


class RefreshRequest(Request, frozen=True, kw_only=True):
    """The newest refresh token of a sign-in."""

    refresh_token: RefreshToken


class CodeRequest(Request, frozen=True, kw_only=True):
    """Send a sign-in code to a phone."""

    user_type: OwnerType
    phone: MobilePhone


class CodeVerification(Request, frozen=True, kw_only=True):
    """The code that was received; `password` replaces the account's password.

    `challengeId` of the answer to the code's request says that this is the caller who asked.
    """

    user_type: OwnerType
    phone: MobilePhone
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}$(?!\n)", max_length=6)]
    challenge_id: Annotated[str, opaque(max_length=100)] | None = None
    password: Password | None = None
    name: DisplayName | None = None
