"""Mutants of a write: each lacks one of its conditions."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ledger.dynamodb.table import Check, Key, Write, key_of

_WORD = re.compile(r"[#:]?\w+(?:\.#?\w+)*|<=|>=|<>|[=<>,()]")
# Parts of a path that differ from order to order.
_CARRIED_ORDER = re.compile(r"carries_\w+")
_OFFER_OF = re.compile(r"(dispatch\.offers)\.[^. ]+")
# A check needs a condition.
_ALWAYS = "attribute_exists(PK) OR attribute_not_exists(PK)"
# The part of a key that names the kind of item.
_KIND = re.compile(r"[A-Z]+(?:#[A-Z]+)?(?![a-z0-9_])|[A-Z]+")


class Mutant(NamedTuple):
    """One condition of one write, described without ids."""

    verb: str
    item: str
    condition: str
    removed: str


def mutants_of(write: Write) -> dict[Mutant, str | None]:
    """Each mutant of a write, with the condition that is left."""
    if write.condition is None:
        return {}
    words = _WORD.findall(write.condition)
    verb, item = type(write).__name__, _kind_of(key_of(write))
    whole = _generic_text(write, words)
    return {
        Mutant(verb, item, whole, _generic_text(write, words[start:stop])): _text(left)
        for start, stop, left in _without_each(words)
    }


def weaken(write: Write, mutant: Mutant) -> Write:
    """The write without the mutant's condition; another write is returned as it is."""
    left = mutants_of(write)
    if mutant not in left:
        return write
    text = left[mutant] or (_ALWAYS if isinstance(write, Check) else None)
    used = set(_WORD.findall(f"{text or ''} {getattr(write, 'expression', '')}"))
    used |= {part for word in used for part in word.split(".")}
    return msgspec.structs.replace(
        write,
        condition=text,
        names={name: given for name, given in write.names.items() if name in used},
        values={name: given for name, given in write.values.items() if name in used},
    )


def _kind_of(key: Key) -> str:
    kinds = []
    for text in key:
        found = _KIND.match(text)
        kinds.append(found.group() if found else "*")
    return "/".join(kinds)


def _generic_text(write: Write, words: list[str]) -> str:
    named: list[str] = []
    for word in words:
        parts = (write.names.get(part, part) for part in word.split("."))
        named.append(".".join(parts))
    text = " ".join(named)
    return _OFFER_OF.sub(r"\1.*", _CARRIED_ORDER.sub("carries_*", text))


def _text(words: list[str]) -> str | None:
    return " ".join(words) or None


def _without_each(words: list[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Each condition that is joined by AND or stands alone: its position, and what is left.

    A disjunction (OR) is one condition, and so is each condition inside its branches.
    """
    is_choice = len(list(_split(words, 0, len(words), "OR"))) > 1
    if is_choice or len(list(_split(words, 0, len(words), "AND"))) == 1:
        yield 0, len(words), []
    yield from _nested_removals(words, 0, len(words))


def _nested_removals(
    words: list[str], start: int, stop: int
) -> Iterator[tuple[int, int, list[str]]]:
    branches = list(_split(words, start, stop, "OR"))
    for branch_start, branch_stop in branches:
        parts = list(_split(words, branch_start, branch_stop, "AND"))
        for part_start, part_stop in parts:
            if len(parts) > 1:
                yield part_start, part_stop, _remove_part(words, part_start, part_stop, branch_stop)
            if words[part_start] == "(":
                yield from _nested_removals(words, part_start + 1, part_stop - 1)


def _remove_part(words: list[str], start: int, stop: int, end: int) -> list[str]:
    """Remove a part, with the AND after it or, for the last one, before it."""
    if stop < end:
        return [*words[:start], *words[stop + 1 :]]
    return [*words[: start - 1], *words[stop:]]


def _split(words: list[str], start: int, stop: int, joint: str) -> Iterator[tuple[int, int]]:
    depth, began = 0, start
    for place in range(start, stop):
        depth += {"(": 1, ")": -1}.get(words[place], 0)
        if depth == 0 and words[place] == joint:
            yield began, place
            began = place + 1
    yield began, stop
