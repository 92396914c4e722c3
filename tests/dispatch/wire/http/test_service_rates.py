"""Body of the service rate endpoint: every field may be omitted, and each is bounded."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.service_rates import ServiceSettings
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (ServiceSettings, "{}"),
    (ServiceSettings, '{"enabled":true,"commissionBps":10000,"maxWeightKg":0.5}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (ServiceSettings, '{"commissionBps":10001}'),
    (ServiceSettings, '{"deliveryFee":-1}'),
    (ServiceSettings, '{"maxWeightKg":0}'),
    (ServiceSettings, '{"surge":2}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
