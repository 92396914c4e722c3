"""Body of the standing endpoint: what an operator decides about a person."""

from typing import Literal

from dispatch.wire.http.base import OperatorRequest, RequiredText


class StandingChange(OperatorRequest, frozen=True, kw_only=True):
    """An operator's decision about a customer, vendor or rider, with its reason."""

    standing: Literal["PENDING", "UNDER_REVIEW", "APPROVED", "REJECTED", "SUSPENDED", "CLOSED"]
    reason: RequiredText
