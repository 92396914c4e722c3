"""Errors: refusal codes in order of precedence, and readable messages."""

from dispatch.errors import LeadershipLost, Refusal, Refused, StoreUnavailable

# Source: docs/contract.md; clients depend on these codes and on their order.
CODES = [
    "malformed", "rate_limited", "wrong_credentials", "forbidden", "registration_closed",
    "not_approved", "phone_unverified", "not_found", "wrong_state", "offer_taken",
    "offer_expired", "conflict", "service_disabled", "vendor_closed", "out_of_area",
    "unknown_item", "item_unavailable", "too_heavy", "below_minimum", "promo_refused",
    "unpaid_limit", "debt_open", "country_not_served", "cash_limit", "insufficient_funds",
    "unavailable", "internal",
]  # fmt: skip


def test_codes_are_the_contract():
    """The codes and their precedence are those of the public contract."""
    assert [code.value for code in Refusal] == CODES


def test_only_temporary_refusals_are_retryable():
    """The same command may succeed later only after a rate limit or an outage."""
    retryable = {code for code in Refusal if code.is_retryable}
    assert retryable == {Refusal.RATE_LIMITED, Refusal.UNAVAILABLE}


def test_messages_name_the_cause():
    """The text of an error has its code or store, and its cause."""
    refused = Refused(Refusal.CONFLICT, "used before", {"id": "cmd_1"})
    assert str(refused) == "conflict: used before"
    assert refused.details == {"id": "cmd_1"}
    assert str(StoreUnavailable("redis", "no reply")) == "redis is unavailable: no reply"
    assert str(LeadershipLost("douala")) == "douala"
