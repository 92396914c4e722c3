"""Bodies of the profile endpoints: every field may be omitted, and each is bounded."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.profiles import RiderProfile, VendorProfile
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (VendorProfile, "{}"),
    (VendorProfile, '{"services":["FOOD","MART"],"online":true,"prepMinutes":240}'),
    (VendorProfile, '{"location":{"lat":4.05,"lng":9.7,"address":"Akwa"}}'),
    (RiderProfile, "{}"),
    (RiderProfile, '{"vehicle":"BICYCLE","phone":"+237 600 00 00 00"}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (VendorProfile, '{"services":["PACKAGE"]}'),
    (VendorProfile, '{"prepMinutes":241}'),
    (VendorProfile, '{"name":""}'),
    (RiderProfile, '{"vehicle":"HORSE"}'),
    (RiderProfile, '{"phone":"call me"}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
