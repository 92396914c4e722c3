"""Body of the token endpoint: which tokens are revoked."""

from typing import Annotated, Literal

from dispatch.wire.commands import Id, Reason
from dispatch.wire.http.base import OperatorRequest, RequiredText
from dispatch.wire.texts import opaque


class TokenRevocation(OperatorRequest, frozen=True, kw_only=True):
    """Revoke one token (itself or its `jti`), or all that a user holds until now."""

    token: Annotated[str, opaque(min_length=1, max_length=4096)] | None = None
    jti: RequiredText | None = None
    user_type: Literal["USER", "VENDOR", "RIDER", "ADMIN"] | None = None
    user_id: Id | None = None
    reason: Reason | None = None
