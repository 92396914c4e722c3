"""Errors: refusal codes in order of precedence, unavailable stores, lost leadership."""

from enum import StrEnum

# A background loop tries again so long after a StoreUnavailable. Units: seconds.
STORE_RETRY_S = 0.5


class Refusal(StrEnum):
    """A refusal code of the public contract; of two that apply the earlier one is reported."""

    MALFORMED = "malformed"
    RATE_LIMITED = "rate_limited"
    WRONG_CREDENTIALS = "wrong_credentials"
    FORBIDDEN = "forbidden"
    REGISTRATION_CLOSED = "registration_closed"
    NOT_APPROVED = "not_approved"
    PHONE_UNVERIFIED = "phone_unverified"
    NOT_FOUND = "not_found"
    WRONG_STATE = "wrong_state"
    OFFER_TAKEN = "offer_taken"
    OFFER_EXPIRED = "offer_expired"
    CONFLICT = "conflict"
    SERVICE_DISABLED = "service_disabled"
    VENDOR_CLOSED = "vendor_closed"
    OUT_OF_AREA = "out_of_area"
    UNKNOWN_ITEM = "unknown_item"
    ITEM_UNAVAILABLE = "item_unavailable"
    TOO_HEAVY = "too_heavy"
    BELOW_MINIMUM = "below_minimum"
    PROMO_REFUSED = "promo_refused"
    UNPAID_LIMIT = "unpaid_limit"
    DEBT_OPEN = "debt_open"
    COUNTRY_NOT_SERVED = "country_not_served"
    CASH_LIMIT = "cash_limit"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"

    @property
    def is_retryable(self) -> bool:
        """Whether the same command, unchanged, may succeed later."""
        return self in _RETRYABLE


_RETRYABLE = frozenset({Refusal.RATE_LIMITED, Refusal.UNAVAILABLE})


class Refused(Exception):
    """A valid command or request was refused; nothing was changed."""

    def __init__(
        self, code: Refusal, message: str, details: dict[str, object] | None = None
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class StoreUnavailable(Exception):
    """Redis or DynamoDB cannot answer now; the caller may try again."""

    def __init__(self, store: str, cause: str) -> None:
        super().__init__(store, cause)
        self.store = store
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.store} is unavailable: {self.cause}"


class LeadershipLost(Exception):
    """This node no longer holds the zone's lease; another node's engine is live."""
