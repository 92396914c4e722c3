"""Free text of clients: names, addresses, notes and reasons in one form, nothing hidden in them.

Every text field of a command or body is cleaned as it is decoded, so that a new field cannot be
forgotten: a text is in NFC and trimmed, holds no control characters, no marks that turn or hide
what stands around them, and line breaks only where it may have several lines.
"""

import unicodedata
from functools import cache
from typing import NamedTuple, cast

import msgspec
from msgspec import Meta, inspect

# What the `extra` of a field's Meta says: a text of several lines; a secret that is not changed.
LINES, OPAQUE = "lines", "opaque"

# Joiners of emoji and of Indic and Persian words, marks of direction that end nothing, and the tags
# of flags: without them some texts read wrong, and none hides anything.
_KEPT_FORMAT = frozenset("\u200c\u200d\u200e\u200f\u061c") | {
    chr(c) for c in range(0xE0020, 0xE0080)
}
_LINE_BREAKS = ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
# Categories without a glyph of their own. Source: Unicode Standard Annex 44, table 12.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
# Letters and symbols that are drawn as nothing. Source: Unicode, Default_Ignorable_Code_Point, and
# the blank Braille pattern.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


class _TextField(NamedTuple):
    name: str
    wire_name: str
    chars_min: int
    chars_max: int | None
    has_lines: bool


class CleanTexts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A struct of clients whose text fields are cleaned as it is decoded."""

    def __post_init__(self) -> None:
        """Clean each text field. Errors: ValueError names the field."""
        clean_fields(self)


def clean_fields(struct: msgspec.Struct) -> None:
    """Clean each text field of a struct, in place. Errors: ValueError names the field."""
    for field in _text_fields(type(struct)):
        value = getattr(struct, field.name)
        cleaned = _clean_value(value, field)
        if cleaned is not value:
            msgspec.structs.force_setattr(struct, field.name, cleaned)


def printable(text: str) -> str:
    """A provider's text with control characters as spaces; never refused."""
    return _normalized("".join(" " if _is_control(each) else each for each in text))


def _clean_value(value: object, field: _TextField) -> object:
    if isinstance(value, str):
        return _clean(value, field)
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return {_clean(name, field): _clean_value(each, field) for name, each in named.items()}
    return value


def _clean(text: str, field: _TextField) -> str:
    """The text in its one form. Errors: ValueError."""
    if text.isascii() and text.isprintable() and text == text.strip() and text:
        return text
    cleaned = text
    if field.has_lines:
        for line_break in _LINE_BREAKS:
            cleaned = cleaned.replace(line_break, "\n")
    allowed = "\n\t" if field.has_lines else ""
    if any(_is_control(each) and each not in allowed for each in cleaned):
        what = "control characters" if field.has_lines else "control characters or line breaks"
        raise ValueError(f"`{field.wire_name}` must not hold {what}")
    cleaned = _normalized(cleaned)
    if len(cleaned) < field.chars_min:
        raise ValueError(f"`{field.wire_name}` must have {field.chars_min} visible characters")
    if field.chars_max is not None and len(cleaned) > field.chars_max:
        raise ValueError(f"`{field.wire_name}` must have at most {field.chars_max} characters")
    return cleaned


def _is_control(character: str) -> bool:
    """Whether a character is a control, a separator of lines, or half of a surrogate pair."""
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def _normalized(text: str) -> str:
    """NFC, trimmed, without hidden characters; empty where nothing can be seen."""
    shown = (c for c in text if c in _KEPT_FORMAT or unicodedata.category(c) != "Cf")
    cleaned = unicodedata.normalize("NFC", "".join(shown)).strip()
    is_seen = any(unicodedata.category(c) not in _INVISIBLE and c not in _BLANK for c in cleaned)
    return cleaned if is_seen else ""


@cache
def _text_fields(struct: type[msgspec.Struct]) -> tuple[_TextField, ...]:
    """The fields of a struct that hold free text: without a pattern, and not opaque."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType), "only structs have fields"
    found = [(field, *_text_of(field.type)) for field in info.fields]
    return tuple(
        _TextField(
            field.name, field.encode_name, text.min_length or 0, text.max_length, use == LINES
        )
        for field, text, use in found
        if text is not None and text.pattern is None and use != OPAQUE
    )


def _text_of(
    kind: inspect.Type, use: str | None = None
) -> tuple[inspect.StrType | None, str | None]:
    """The text that a field may hold, alone or beside other types, and how it is used."""
    if isinstance(kind, inspect.Metadata):
        extra = cast("dict[str, str]", kind.extra or {})  # pyright: ignore[reportUnknownMemberType]
        return _text_of(kind.type, extra.get("text", use))
    if isinstance(kind, inspect.StrType):
        return kind, use
    if isinstance(kind, inspect.DictType):
        return _text_of(kind.value_type, use)
    if isinstance(kind, inspect.UnionType):
        found = (_text_of(each, use) for each in kind.types)
        return next((each for each in found if each[0] is not None), (None, use))
    return None, use


def opaque(*, min_length: int | None = None, max_length: int) -> Meta:
    """The bounds of a secret or token, whose characters are left as they are."""
    return Meta(min_length=min_length, max_length=max_length, extra={"text": OPAQUE})


def lines(*, max_length: int) -> Meta:
    """The bounds of a text that may have several lines."""
    return Meta(max_length=max_length, extra={"text": LINES})
