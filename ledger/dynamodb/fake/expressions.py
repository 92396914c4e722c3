"""The part of DynamoDB's expression language that this house speaks; anything else is refused.

A text becomes functions once, and is then applied to any item with any names and values.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

from ledger.dynamodb.fake.errors import Wrong
from ledger.dynamodb.fake.values import (
    Image,
    Value,
    add,
    compare,
    equal,
    normal,
)

# A name, or #name, for each level of a map.
Path = tuple[str, ...]
_T = TypeVar("_T")

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[#:]?[A-Za-z_][A-Za-z0-9_]*|[#:][0-9][A-Za-z0-9_]*)|(?P<sign><=|>=|<>|[=<>+\-,.()]))"
)
_COMPARISONS: dict[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_KEYWORDS = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE"})
_FUNCTIONS = frozenset({"attribute_exists", "attribute_not_exists", "begins_with", "if_not_exists"})
# Source: DynamoDB limits: operands of IN; bytes of an expression.
_IN_MAX = 100
_TEXT_MAX = 4096
_PARTS_KEPT = 8192


class Scope(NamedTuple):
    """What an expression is applied to."""

    image: Image
    names: Mapping[str, str]
    values: Mapping[str, Value]

    def find(self, path: Path) -> Value | None:
        """The value at a path; None where there is none."""
        image = self.image
        value: Value | None = None
        for part in path:
            value = image.get(self.named(part))
            if value is None:
                return None
            image = value.get("M", {})
        return value

    def named(self, part: str) -> str:
        """The attribute that a part of a path means."""
        return self.names[part] if part[0] == "#" else part


Test = Callable[[Scope], bool]
Operand = Callable[[Scope], Value | None]


class Condition(NamedTuple):
    """A condition or filter; `used` are its placeholders, `paths` what it looks at."""

    test: Test
    used: frozenset[str]
    paths: frozenset[Path]


class Change(NamedTuple):
    """An update: what is set to what, and what is removed."""

    sets: tuple[tuple[str, Operand], ...]
    removes: tuple[str, ...]
    used: frozenset[str]


class Span(NamedTuple):
    """A key condition: the partition, and the beginning of the sort key or None."""

    partition: str
    partition_value: str
    sort: str | None
    sort_value: str | None
    used: frozenset[str]


@lru_cache(maxsize=_PARTS_KEPT)
def condition(text: str) -> Condition:
    """Read a condition or filter. Errors: Wrong."""
    reader = _Reader(text)
    test = reader.either()
    reader.end()
    return Condition(test, frozenset(reader.used), frozenset(reader.paths))


@lru_cache(maxsize=_PARTS_KEPT)
def change(text: str) -> Change:
    """Read an update. Errors: Wrong."""
    reader = _Reader(text)
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    seen: set[str] = set()
    while not reader.is_over():
        clause = reader.take().upper()
        if clause in seen:
            raise Wrong(f'The "{clause}" section can only be used once in an update expression')
        seen.add(clause)
        if clause == "SET":
            sets = reader.several(reader.assignment)
        elif clause == "REMOVE":
            removes = reader.several(reader.target)
        else:
            raise Wrong(f"the fake knows no {clause!r} in an update")
    if not seen:
        raise Wrong("Invalid UpdateExpression: The expression can not be empty")
    return Change(tuple(sets), tuple(removes), frozenset(reader.used))


@lru_cache(maxsize=_PARTS_KEPT)
def span(text: str) -> Span:
    """Read `pk = :pk` or `pk = :pk AND begins_with(sk, :sk)`. Errors: Wrong."""
    reader = _Reader(text)
    partition = reader.target()
    reader.expect("=")
    partition_value = reader.placeholder()
    if reader.is_over():
        return Span(partition, partition_value, None, None, frozenset(reader.used))
    for word in ("AND", "begins_with", "("):
        reader.expect(word)
    sort = reader.target()
    reader.expect(",")
    sort_value = reader.placeholder()
    reader.expect(")")
    reader.end()
    return Span(partition, partition_value, sort, sort_value, frozenset(reader.used))


def scope(names: Mapping[str, str], values: Mapping[str, Value], used: set[str]) -> Scope:
    """Names and values of a request, of which all and no others must be used.

    Errors: Wrong.
    """
    given = names.keys() | values.keys()
    for missing in sorted(used - given):
        raise Wrong(f"An expression attribute name or value is not defined: {missing}")
    for spare in sorted(given - used):
        raise Wrong(f"Value provided in ExpressionAttribute unused in expressions: {spare}")
    return Scope({}, names, {name: normal(value) for name, value in values.items()})


def changed(update: Change, at: Scope) -> Image:
    """The item after an update; all operands are read from the item before it.

    Errors: Wrong where an operand is not there or no number.
    """
    after = dict(at.image)
    for name, operand in update.sets:
        value = operand(at)
        if value is None:
            raise Wrong(
                "The provided expression refers to an attribute that does not exist in the item"
            )
        after[at.named(name)] = value
    for name in update.removes:
        after.pop(at.named(name), None)
    return after


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        if len(text.encode()) > _TEXT_MAX:
            raise Wrong("Expression size has exceeded the maximum allowed size")
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self.used: set[str] = set()
        self.paths: set[Path] = set()

    def is_over(self) -> bool:
        return self._at == len(self._tokens)

    def end(self) -> None:
        if not self.is_over():
            raise self._wrong()

    def look(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def take(self) -> str:
        token = self.look()
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        if self.look() != token and self.look().upper() != token:
            raise self._wrong()
        self._at += 1

    def several(self, read: Callable[[], _T]) -> list[_T]:
        parts = [read()]
        while self.look() == ",":
            self._at += 1
            parts.append(read())
        return parts

    def either(self) -> Test:
        tests = [self._both()]
        while self.look().upper() == "OR":
            self._at += 1
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda at: any(test(at) for test in tests)

    def assignment(self) -> tuple[str, Operand]:
        name = self.target()
        self.expect("=")
        left = self._operand(update=True)
        sign = {"+": 1, "-": -1}.get(self.look())
        if sign is None:
            return name, left
        self._at += 1
        right = self._operand(update=True)
        return name, lambda at: _sum(left(at), right(at), sign)

    def target(self) -> str:
        """An attribute at the top of the item: the fake changes nothing deeper."""
        path = self._path()
        if len(path) != 1:
            raise Wrong(f"the fake changes no nested attribute: {'.'.join(path)}")
        return path[0]

    def placeholder(self) -> str:
        token = self.take()
        if not token.startswith(":"):
            raise self._wrong()
        self.used.add(token)
        return token

    def _both(self) -> Test:
        tests = [self._negated()]
        while self.look().upper() == "AND":
            self._at += 1
            tests.append(self._negated())
        return tests[0] if len(tests) == 1 else lambda at: all(test(at) for test in tests)

    def _negated(self) -> Test:
        if self.look().upper() != "NOT":
            return self._single()
        self._at += 1
        test = self._negated()
        return lambda at: not test(at)

    def _single(self) -> Test:
        if self.look() == "(":
            return self._group()
        if self.look(1) == "(" and self.look() in _FUNCTIONS:
            return self._function()
        return self._comparison()

    def _group(self) -> Test:
        self.expect("(")
        start, is_doubled = self._at, self.look() == "("
        test = self.either()
        if is_doubled and self.look() == ")" and _closing(self._tokens, start) == self._at - 1:
            raise Wrong("The expression has redundant parentheses")
        self.expect(")")
        return test

    def _function(self) -> Test:
        name = self.take()
        self.expect("(")
        path = self._path()
        if name == "begins_with":
            self.expect(",")
            prefix = self.placeholder()
            self.expect(")")
            return lambda at: _begins(at.find(path), at.values[prefix])
        if name == "if_not_exists":
            raise self._wrong()
        self.expect(")")
        if name == "attribute_exists":
            return lambda at: at.find(path) is not None
        return lambda at: at.find(path) is None

    def _comparison(self) -> Test:
        left = self._operand()
        sign = self.take().upper()
        if sign == "IN":
            return self._membership(left)
        if sign == "BETWEEN":
            low = self._operand()
            self.expect("AND")
            high = self._operand()
            return lambda at: _between(left(at), low(at), high(at))
        right = self._operand()
        if sign == "=":
            return lambda at: equal(left(at), right(at))
        if sign == "<>":
            return lambda at: not equal(left(at), right(at))
        holds = _COMPARISONS.get(sign)
        if holds is None:
            raise self._wrong()
        return lambda at: _holds(holds, compare(left(at), right(at)))

    def _membership(self, left: Operand) -> Test:
        self.expect("(")
        choices = self.several(self._operand)
        self.expect(")")
        if len(choices) > _IN_MAX:
            raise Wrong("The IN operator is provided with too many operands")
        return lambda at: any(equal(left(at), choice(at)) for choice in choices)

    def _operand(self, *, update: bool = False) -> Operand:
        word = self.look()
        if word.startswith(":"):
            name = self.placeholder()
            return lambda at: at.values[name]
        if update and word == "if_not_exists" and self.look(1) == "(":
            self._at += 2
            path = self._path()
            self.expect(",")
            other = self._operand(update=True)
            self.expect(")")
            return lambda at: found if (found := at.find(path)) is not None else other(at)
        path = self._path()
        return lambda at: at.find(path)

    def _path(self) -> Path:
        parts = [self._name()]
        while self.look() == ".":
            self._at += 1
            parts.append(self._name())
        path = tuple(parts)
        self.paths.add(path)
        return path

    def _name(self) -> str:
        token = self.take()
        if not token or not (token[0] == "#" or token[0].isalpha() or token[0] == "_"):
            raise self._wrong()
        if token.upper() in _KEYWORDS or (self.look() == "("):
            raise self._wrong()
        if token[0] == "#":
            self.used.add(token)
        return token

    def _wrong(self) -> Wrong:
        near = " ".join(self._tokens[max(0, self._at - 2) : self._at + 2])
        return Wrong(f"Syntax error, or nothing the fake knows, near {near!r} in {self._text!r}")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise Wrong(f"Syntax error, or nothing the fake knows, at {text[place:]!r}")
        tokens.append(found["word"] or found["sign"])
        place = found.end()
    return tokens


def _closing(tokens: list[str], opening: int) -> int:
    """Where the parenthesis that opens there closes."""
    depth = 0
    for place in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place], 0)
        if depth == 0:
            return place
    return len(tokens)


def _sum(left: Value | None, right: Value | None, sign: int) -> Value | None:
    return None if left is None or right is None else add(left, right, sign)


def _begins(value: Value | None, prefix: Value) -> bool:
    return value is not None and "S" in value and value["S"].startswith(prefix["S"])


def _between(value: Value | None, low: Value | None, high: Value | None) -> bool:
    above, below = compare(low, value), compare(value, high)
    return above is not None and below is not None and above <= 0 and below <= 0


def _holds(holds: Callable[[int], bool], order: int | None) -> bool:
    return order is not None and holds(order)
