"""What request bodies share: camelCase, bounded types, and what becomes of unknown fields."""

import msgspec
import pytest

from dispatch.wire.http.base import Address, PromoCode, ProviderName, ReasonBody, Request, UnixMs


class Sample(Request, frozen=True, kw_only=True):
    provider_name: ProviderName = "momo"
    promo_code: PromoCode = "NDOLE"
    starts_at: UnixMs = 0


def decode(raw: str) -> Sample:
    return msgspec.json.decode(raw, type=Sample)


def test_fields_are_camel_case_on_the_wire():
    """A body reads back as it was written."""
    sample = Sample(provider_name="orange_1", promo_code="a-b_C", starts_at=9_999_999_999_999)
    raw = msgspec.json.encode(sample)
    assert raw == b'{"providerName":"orange_1","promoCode":"a-b_C","startsAt":9999999999999}'
    assert msgspec.json.decode(raw, type=Sample) == sample


def test_an_unknown_field_is_refused_of_operators_only():
    """A client may be newer than the server; an operator's misspelt field must not be ignored."""
    assert decode('{"provider_name":"mtn"}') == Sample()
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode('{"because":"late"}', type=ReasonBody)


@pytest.mark.parametrize(
    "raw",
    [
        '{"providerName":"MoMo"}',
        '{"providerName":""}',
        '{"providerName":"momo\\n"}',
        '{"promoCode":"ab"}',
        '{"promoCode":"a b c"}',
        '{"startsAt":-1}',
        '{"startsAt":10000000000000}',
    ],
)
def test_values_out_of_bounds_are_refused(raw: str):
    """A form or a range of its own for each type."""
    with pytest.raises(msgspec.ValidationError):
        decode(raw)


def test_addresses_and_reasons_have_defaults():
    """The text may be omitted, coordinates may not and must be on the globe."""
    assert msgspec.json.decode('{"lat":4,"lng":9.7}', type=Address) == Address(lat=4.0, lng=9.7)
    assert msgspec.json.decode("{}", type=ReasonBody).reason == ""
    for raw in ('{"lat":91,"lng":9.7}', '{"lat":4,"lng":181}', '{"lat":4}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(raw, type=Address)
