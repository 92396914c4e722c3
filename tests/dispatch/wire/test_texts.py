"""Free text: every text field of every command and body has one form and hides nothing."""

import unicodedata
from functools import partial

import msgspec
import pytest

from dispatch.wire import decoding
from dispatch.wire.phones import PhoneNumbers
from dispatch.wire.texts import LINES, OPAQUE, printable
from dispatch.wire.webhooks import PaymentEvent, PayoutEvent
from handlers.validation_messages import explain
from tests.wire_samples import (
    Path,
    command_structs,
    replaced,
    request_structs,
    sample_of,
    text_paths,
    value_at,
)

decode_json = partial(decoding.decode_json, decode_hook=PhoneNumbers("CM").decode)
TEXTS = [
    (struct, path, bounds, use)
    for struct in (*command_structs(), *request_structs())
    # Providers' events are not refused for their texts; see the last test.
    if struct not in {PaymentEvent, PayoutEvent}
    for path, bounds, use in text_paths(struct)
]
OPEN = [each for each in TEXTS if each[3] != OPAQUE]
FIELDS = [(struct, path) for struct, path, _, _ in OPEN]
SINGLE_LINE = [(struct, path) for struct, path, _, use in OPEN if use != LINES]
MANY_LINES = [(struct, path) for struct, path, _, use in OPEN if use == LINES]
REQUIRED = [(struct, path) for struct, path, bounds, _ in OPEN if bounds.min_length]
SECRETS = [(struct, path) for struct, path, _, use in TEXTS if use == OPAQUE]

Struct = type[msgspec.Struct]
INVISIBLE = ["", " ", "\u200b", "\ufeff\u2060", "\u202e\u202c", "\u200d\u200c", "\u3164", "\u2800"]


def field_name(path: Path) -> str:
    """The field as messages name it: `legs[0].account`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def decoded(struct: Struct, path: Path, text: str) -> object:
    """The value of a field after a payload with `text` in it was decoded."""
    raw = msgspec.json.encode(replaced(sample_of(struct), path, text))
    found = decode_json(raw, struct)
    value: object = found
    for step in path:
        value = value[step] if isinstance(step, int) else getattr(value, snake(step))  # type: ignore[index]
    return value


def snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


def test_the_fields_are_found():
    """Names, addresses, descriptions, reasons, notes and comments are among them."""
    names = {path[-1] for _, path in FIELDS}
    assert names >= {"name", "address", "description", "reason", "notes", "comment", "category"}
    assert {path[-1] for _, path in MANY_LINES} == {"notes", "comment", "description"}
    assert {path[-1] for _, path in SECRETS} == {"password", "refreshToken", "token", "challengeId"}


@pytest.mark.parametrize(("struct", "path"), FIELDS)
@pytest.mark.parametrize(
    "character", ["\x00", "\x01", "\x07", "\x1b", "\x7f", "\x80", "\x9f"], ids=ascii
)
def test_control_characters_are_refused(struct: Struct, path: Path, character: str):
    """At any place of any field, with a message that names the field."""
    for text in (f"Awa{character}Ndi", f"{character}Awa", f"Awa{character}"):
        with pytest.raises(msgspec.ValidationError) as refused:
            decoded(struct, path, text)
        assert explain(refused.value).startswith(f"`{field_name(path)}` must not hold control")


@pytest.mark.parametrize(("struct", "path"), SINGLE_LINE)
@pytest.mark.parametrize(
    "line_break", ["\n", "\r\n", "\t", "\x0b", "\x85", "\u2028", "\u2029"], ids=ascii
)
def test_a_name_has_one_line(struct: Struct, path: Path, line_break: str):
    """A line break inside is refused, so that no name forges a line of a log or a message."""
    with pytest.raises(msgspec.ValidationError, match="must not hold control characters or line"):
        decoded(struct, path, f"Awa{line_break}Ndi")


@pytest.mark.parametrize(("struct", "path"), MANY_LINES)
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028"], ids=ascii)
def test_a_note_may_have_lines(struct: Struct, path: Path, line_break: str):
    """Every kind of line break becomes one."""
    assert decoded(struct, path, f"Ring twice{line_break}Black gate ") == "Ring twice\nBlack gate"


@pytest.mark.parametrize(("struct", "path"), FIELDS)
@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("  Awa  ", "Awa"),
        ("\u00a0Awa\u3000", "Awa"),
        ("Ndole\u0301", "Ndol\u00e9"),
        ("\u202eAwa", "Awa"),
        ("A\u202awa\u202c", "Awa"),
        ("A\u2066w\u2069a", "Awa"),
        ("A\u200bw\ufeff\u2060\u00ada", "Awa"),
        ("\u200e\u0639\u0644\u064a", "\u200e\u0639\u0644\u064a"),
        ("\u0646\u0645\u06cc\u200c\u062e", "\u0646\u0645\u06cc\u200c\u062e"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("Chez Ada 'le <b>roi</b>' & co", "Chez Ada 'le <b>roi</b>' & co"),
    ],
    ids=ascii,
)
def test_a_text_has_one_form(struct: Struct, path: Path, text: str, form: str):
    """Trimmed, in NFC, without marks that turn or hide text; joiners and markup stay."""
    assert decoded(struct, path, text) == form
    assert unicodedata.is_normalized("NFC", form)


@pytest.mark.parametrize(("struct", "path"), FIELDS)
@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"\ud800\u0041"])
def test_half_a_surrogate_pair_is_refused(struct: Struct, path: Path, half: str):
    """It is no character, and no store would take it."""
    payload = msgspec.json.encode(replaced(sample_of(struct), path, "here"))
    with pytest.raises(msgspec.DecodeError):
        decode_json(payload.replace(b'"here"', f'"a{half}b"'.encode()), struct)


@pytest.mark.parametrize(("struct", "path"), REQUIRED)
@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_required_text_can_be_seen(struct: Struct, path: Path, text: str):
    """Spaces and characters without a glyph are no name."""
    with pytest.raises(msgspec.ValidationError):
        decoded(struct, path, text)


@pytest.mark.parametrize(("struct", "path", "bounds", "use"), OPEN)
def test_bounds_hold_for_the_form(struct: Struct, path: Path, bounds: object, use: object):
    """A text that NFC makes longer than its bound is refused."""
    text = "\u0958" * bounds.max_length  # type: ignore[attr-defined]
    with pytest.raises(msgspec.ValidationError, match="must have at most"):
        decoded(struct, path, text)


@pytest.mark.parametrize(("struct", "path"), SECRETS)
def test_secrets_are_left_as_they_are(struct: Struct, path: Path):
    """A password may hold what its owner typed."""
    secret = " p\u00e4ss\u202e\tword\x00 "
    assert decoded(struct, path, secret) == secret


def test_every_text_of_a_destination_is_cleaned():
    """Names and values of a payout's destination, and a destination that is one text."""
    [struct] = [each for each in request_structs() if each.__name__ == "PayoutRequest"]
    payload = {**sample_of(struct), "destination": {" bank\u202e": " Afri\u200bland "}}
    found = decode_json(msgspec.json.encode(payload), struct)
    assert found.destination == {"bank": "Afriland"}  # type: ignore[attr-defined]
    broken = {**payload, "destination": {"bank": "a\x00b"}}
    with pytest.raises(msgspec.ValidationError, match="`destination` must not hold"):
        decode_json(msgspec.json.encode(broken), struct)


def test_samples_have_the_fields():
    """Each path leads to a text of a sample."""
    assert all(isinstance(value_at(sample_of(struct), path), str) for struct, path in FIELDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no\x00funds\r\nleft", "no funds  left"),
        (" \u202eno funds ", "no funds"),
        ("\u200b", ""),
        ("", ""),
    ],
    ids=ascii,
)
def test_a_providers_text_is_printable(text: str, shown: str):
    """It is never refused: its news would be lost."""
    assert printable(text) == shown
