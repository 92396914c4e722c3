"""Body of the token endpoint: which tokens may be named."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.tokens import TokenRevocation
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (TokenRevocation, "{}"),
    (TokenRevocation, '{"userType":"ADMIN","userId":"adm_1","reason":"left"}'),
    (TokenRevocation, '{"jti":"any: text"}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (TokenRevocation, '{"jti":""}'),
    (TokenRevocation, '{"userType":"ROOT"}'),
    (TokenRevocation, '{"userId":"a#b"}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
