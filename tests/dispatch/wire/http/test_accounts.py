"""Bodies of the account endpoints: phones, passwords, codes and refresh tokens."""

import pytest

from dispatch.wire.http.accounts import (
    CodeRequest,
    CodeVerification,
    Credentials,
    RefreshRequest,
    Registration,
)
from dispatch.wire.http.base import Request
from tests.dispatch.wire.http.bodies import is_refused, reads_back

LOGIN = '"userType":"USER","phone":"+237 600 000 001"'

ACCEPTED: list[tuple[type[Request], str]] = [
    (Registration, f'{{{LOGIN},"password":"12345678","name":"Ada"}}'),
    (Credentials, f'{{{LOGIN},"password":""}}'),
    (RefreshRequest, '{"refreshToken":"x"}'),
    (CodeRequest, f"{{{LOGIN}}}"),
    (CodeVerification, f'{{{LOGIN},"code":"012345"}}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (Registration, f'{{{LOGIN},"password":"1234567"}}'),
    (Registration, '{"userType":"ADMIN","phone":"237600000001","password":"12345678"}'),
    (Credentials, '{"userType":"USER","phone":"ada","password":"x"}'),
    (RefreshRequest, '{"refreshToken":""}'),
    (CodeVerification, f'{{{LOGIN},"code":"12345"}}'),
    (CodeVerification, f'{{{LOGIN},"code":"12345x"}}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
