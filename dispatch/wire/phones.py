"""Phone numbers: one canonical E.164 form for every way in which a number is written."""

import re
import unicodedata

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
)

# Characters of a number as it is written. Source: chosen; fifteen digits in pairs with separators
# have 30, and `tel:` and a `+` come before them.
WRITTEN_CHARS_MAX = 40
# Digits of any script with the separators in use; letters and extensions are no part of a number.
_WRITTEN = re.compile(r"(?:tel:)?\s*[+\uff0b]?[\d\s().\-\u2010-\u2015\u2212]+", re.IGNORECASE)
# Kinds that can receive a text message. In the United States and others they cannot be told apart.
_MOBILE = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
# Kinds whose caller pays more than for a call.
_PREMIUM = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST})


class Phone:
    """A phone number in canonical form. Shapes: `e164` is `+` and 7 to 15 digits (ITU-T E.164)."""

    __slots__ = ("e164",)

    def __init__(self, e164: str) -> None:
        self.e164 = e164

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phone) and self.e164 == other.e164

    def __hash__(self) -> int:
        return hash(self.e164)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.e164!r})"


class MobilePhone(Phone):
    """A phone number that can receive a text message."""

    __slots__ = ()


class PhoneNumbers:
    """Parses phone numbers; one without a country code belongs to `region` (ISO 3166-1).

    Source: docs/decisions/0025-one-form-of-a-phone.md.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        example = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
        assert example is not None, "the settings allow only regions of the library"
        self._example = phonenumbers.format_number(example, PhoneNumberFormat.E164)

    def decode(self, kind: type[object], value: object) -> object:
        """Decode a field of type Phone or MobilePhone; the `dec_hook` of msgspec.

        Errors: ValueError, whose message names a valid number; NotImplementedError for other types.
        """
        if issubclass(kind, MobilePhone):
            return MobilePhone(self._parse(value, is_mobile=True))
        if issubclass(kind, Phone):
            return Phone(self._parse(value, is_mobile=False))
        raise NotImplementedError(kind)

    def _parse(self, value: object, *, is_mobile: bool) -> str:
        number = self._read(value)
        kind = phonenumbers.number_type(number) if number is not None else None
        if number is None or kind in _PREMIUM or not _is_in_plan(number, kind):
            raise ValueError(f"must be a phone number such as {self._example}")
        if is_mobile and kind not in _MOBILE and kind != PhoneNumberType.UNKNOWN:
            raise ValueError(f"must be a mobile number such as {self._example}")
        return phonenumbers.format_number(number, PhoneNumberFormat.E164)

    def _read(self, value: object) -> PhoneNumber | None:
        """The number in a text, None where it holds anything else or too few or many digits."""
        if not isinstance(value, str) or len(value) > WRITTEN_CHARS_MAX:
            return None
        # Address books put marks of writing direction around the numbers that they copy.
        written = "".join(each for each in value if unicodedata.category(each) != "Cf").strip()
        if _WRITTEN.fullmatch(written) is None:
            return None
        try:
            number = phonenumbers.parse(written, self._region)
        except NumberParseException:
            return None
        return number if phonenumbers.is_possible_number(number) else None


def encode_phone(value: object) -> object:
    """Encode a field of type Phone; the `enc_hook` of msgspec. Errors: NotImplementedError."""
    if isinstance(value, Phone):
        return value.e164
    raise NotImplementedError(type(value))


def country_of(e164: str) -> str:
    """The country of a number in canonical form. Shapes: ISO 3166-1, `001` for none."""
    number = phonenumbers.parse(e164)
    of_number = phonenumbers.region_code_for_number(number)
    return of_number or phonenumbers.region_code_for_country_code(number.country_code or 0)


def _is_in_plan(number: PhoneNumber, kind: int | None) -> bool:
    """Whether a number fits its country's numbering plan.

    A range that the library does not know counts where the plan's general form allows it:
    countries open ranges before the library lists them.
    """
    if kind != PhoneNumberType.UNKNOWN:
        return phonenumbers.is_valid_number(number)
    country = phonenumbers.region_code_for_country_code(number.country_code or 0)
    metadata = PhoneMetadata.metadata_for_region(country, None)
    general = metadata.general_desc if metadata is not None else None
    form = general.national_number_pattern if general is not None else None
    national = phonenumbers.national_significant_number(number)
    return form is not None and re.fullmatch(form, national) is not None
