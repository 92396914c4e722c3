"""Phone numbers: every notation of a number is one canonical form, and anything else is refused."""

import msgspec
import pytest

from dispatch.wire.phones import MobilePhone, Phone, PhoneNumbers, country_of, encode_phone

NUMBERS = PhoneNumbers("CM")


class Sample(msgspec.Struct):
    phone: Phone | None = None
    login: MobilePhone | None = None


def decode(**fields: object) -> Sample:
    return msgspec.convert(fields, Sample, dec_hook=NUMBERS.decode)


NOTATIONS = [
    "+237690123456",
    "00237690123456",
    "237690123456",
    "690123456",
    "+237 6 90 12 34 56",
    " 690 12 34 56 ",
    "690.12.34.56",
    "690-12-34-56",
    "690\u201112\u201134\u201156",
    "(237) 690 123 456",
    "tel:+237690123456",
    "TEL:690-12-34-56",
    "\uff0b\uff12\uff13\uff17\uff16\uff19\uff10\uff11\uff12\uff13\uff14\uff15\uff16",
    "+\u0662\u0663\u0667\u0666\u0669\u0660\u0661\u0662\u0663\u0664\u0665\u0666",
    "\u0666\u0669\u0660\u0661\u0662\u0663\u0664\u0665\u0666",
    "\u202a+237 690 12 34 56\u202c",
    "\u2066690123456\u2069",
    "\u200b690123456",
]


@pytest.mark.parametrize("written", NOTATIONS)
def test_notations_of_one_number_have_one_form(written: str):
    """Country code, separators, digits of any script and copied marks make no difference."""
    sample = decode(phone=written, login=written)
    assert sample == Sample(Phone("+237690123456"), MobilePhone("+237690123456"))


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("+33612345678", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "+33612345678"),
        ("0033612345678", "+33612345678"),
        ("+1 415 555 2671", "+14155552671"),
        ("+44 (0)7911 123456", "+447911123456"),
        # A range of Cameroon's plan that the library does not list yet.
        ("+237600000001", "+237600000001"),
        ("+242 06 612 1234", "+242066121234"),
    ],
)
def test_numbers_of_any_country_are_mobile_numbers(written: str, e164: str):
    """A country code counts, a trunk prefix is dropped where the country has one."""
    assert decode(login=written).login == MobilePhone(e164)


NO_NUMBERS = [
    "",
    " ",
    "+",
    "12",
    "690 12 34",
    "112",
    "0690123456",
    "+2370690123456",
    "+237 (0)690123456",
    "0237690123456",
    "+691000000",
    "+237100000000",
    "+999690123456",
    "+2376901234567890123",
    "6" * 41,
    "call me",
    "call 690123456",
    "690123456 or so",
    "1-800-FLOWERS",
    "690123456/57",
    "690123456;670123456",
    "+237690123456 ext 12",
    "+237690123456x12",
    "tel:690123456;phone-context=+237",
    "+237+690123456",
    "690123456\x00",
    # Premium rate and shared cost: whoever calls back pays.
    "+33 899 12 34 56",
    "+44 906 123 4567",
    690123456,
    ["690123456"],
    {"number": "690123456"},
]


@pytest.mark.parametrize("written", NO_NUMBERS)
@pytest.mark.parametrize("field", ["phone", "login"])
def test_what_is_no_number_is_refused_with_an_example(written: object, field: str):
    """Impossible and invalid numbers, extensions, words, premium numbers and other types."""
    with pytest.raises(msgspec.ValidationError) as refused:
        decode(**{field: written})
    assert str(refused.value) in (
        f"must be a phone number such as +237671234567 - at `$.{field}`",
        f"must be a mobile number such as +237671234567 - at `$.{field}`",
    )


@pytest.mark.parametrize(
    "written", ["+237222123456", "88012345", "+1 800 356 9377", "+442071234567"]
)
def test_landlines_are_numbers_that_receive_no_codes(written: str):
    """Landlines and toll-free numbers are phones to call, not to send a text message to."""
    assert isinstance(decode(phone=written).phone, Phone)
    with pytest.raises(msgspec.ValidationError, match="must be a mobile number such as"):
        decode(login=written)


def test_a_local_number_belongs_to_the_region():
    """The same local digits are another number in another region."""
    french = PhoneNumbers("FR").decode(MobilePhone, "06 12 34 56 78")
    assert french == MobilePhone("+33612345678")
    with pytest.raises(ValueError, match=r"such as \+336"):
        PhoneNumbers("FR").decode(MobilePhone, "690123")


def test_other_types_are_not_decoded_here():
    """The hooks leave them to msgspec's own error."""
    with pytest.raises(NotImplementedError):
        NUMBERS.decode(bytes, "690123456")
    with pytest.raises(NotImplementedError):
        encode_phone(b"690123456")


def test_a_phone_is_a_text_on_the_wire():
    """Its canonical form; equal numbers are equal phones."""
    raw = msgspec.json.encode(decode(phone="690123456"), enc_hook=encode_phone)
    assert raw == b'{"phone":"+237690123456","login":null}'
    assert len({Phone("+237690123456"), Phone("+237690123456"), Phone("+237690123457")}) == 2


@pytest.mark.parametrize(
    ("e164", "country"),
    [
        ("+237690123456", "CM"),
        ("+237600000001", "CM"),
        ("+33612345678", "FR"),
        ("+14155552671", "US"),
        ("+16135550123", "CA"),
        ("+8821612345678", "001"),
    ],
)
def test_country_of_a_number(e164: str, country: str):
    """The country whose plan has the number, `001` for a number of no country."""
    assert country_of(e164) == country
