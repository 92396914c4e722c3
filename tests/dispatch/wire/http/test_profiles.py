"""Bodies of the profile endpoints: every field may be omitted, and each is bounded."""

import pytest
from msgspec import ValidationError
from msgspec.json import decode, encode

from dispatch.wire.http.base import Request
from dispatch.wire.http.profiles import RiderProfile, VendorProfile

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
    decoded = decode(raw, type=body)
    assert decode(encode(decoded), type=body) == decoded


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    with pytest.raises(ValidationError):
        decode(raw, type=body)
