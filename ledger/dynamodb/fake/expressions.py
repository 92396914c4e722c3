"""The part of DynamoDB's expression language that this house speaks; anything else is refused.

A text becomes functions once, and is then applied to any item with any names and values.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.values import (
    Image,
    Value,
    add_or_subtract,
    compare,
    equal,
    normalize,
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
_IN_OPERANDS_MAX = 100
_EXPRESSION_BYTES_MAX = 4096
_CACHED_MAX = 8192


class ExpressionContext(NamedTuple):
    """What an expression is applied to."""

    image: Image
    names: Mapping[str, str]
    values: Mapping[str, Value]

    def resolve(self, path: Path) -> Value | None:
        """The value at a path; None where there is none."""
        image = self.image
        value: Value | None = None
        for part in path:
            value = image.get(self.attribute_name(part))
            if value is None:
                return None
            image = value.get("M", {})
        return value

    def attribute_name(self, name: str) -> str:
        """The attribute that a part of a path means."""
        return self.names[name] if name[0] == "#" else name


Test = Callable[[ExpressionContext], bool]
Operand = Callable[[ExpressionContext], Value | None]


class Condition(NamedTuple):
    """A condition or filter; `used` are its placeholders, `paths` what it looks at."""

    test: Test
    placeholders: frozenset[str]
    paths: frozenset[Path]


class UpdateExpression(NamedTuple):
    """An update: what is set to what, and what is removed."""

    sets: tuple[tuple[str, Operand], ...]
    removes: tuple[str, ...]
    placeholders: frozenset[str]


class KeyCondition(NamedTuple):
    """A key condition: the partition, and the beginning of the sort key or None."""

    partition: str
    partition_value: str
    sort: str | None
    sort_value: str | None
    placeholders: frozenset[str]


@lru_cache(maxsize=_CACHED_MAX)
def parse_condition(text: str) -> Condition:
    """Read a condition or filter. Errors: Wrong."""
    reader = _Parser(text)
    test = reader.parse_disjunction()
    reader.expect_end()
    return Condition(test, frozenset(reader.placeholders), frozenset(reader.paths))


@lru_cache(maxsize=_CACHED_MAX)
def parse_update(text: str) -> UpdateExpression:
    """Read an update. Errors: Wrong."""
    reader = _Parser(text)
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    seen: set[str] = set()
    while not reader.is_at_end():
        clause = reader.take_token().upper()
        if clause in seen:
            raise InvalidRequest(
                f'The "{clause}" section can only be used once in an update expression'
            )
        seen.add(clause)
        if clause == "SET":
            sets = reader.parse_list(reader.parse_assignment)
        elif clause == "REMOVE":
            removes = reader.parse_list(reader.parse_attribute)
        else:
            raise InvalidRequest(f"the fake knows no {clause!r} in an update")
    if not seen:
        raise InvalidRequest("Invalid UpdateExpression: The expression can not be empty")
    return UpdateExpression(tuple(sets), tuple(removes), frozenset(reader.placeholders))


@lru_cache(maxsize=_CACHED_MAX)
def parse_key_condition(text: str) -> KeyCondition:
    """Read `pk = :pk` or `pk = :pk AND begins_with(sk, :sk)`. Errors: Wrong."""
    reader = _Parser(text)
    partition = reader.parse_attribute()
    reader.expect("=")
    partition_value = reader.parse_placeholder()
    if reader.is_at_end():
        return KeyCondition(partition, partition_value, None, None, frozenset(reader.placeholders))
    for word in ("AND", "begins_with", "("):
        reader.expect(word)
    sort = reader.parse_attribute()
    reader.expect(",")
    sort_value = reader.parse_placeholder()
    reader.expect(")")
    reader.expect_end()
    return KeyCondition(
        partition, partition_value, sort, sort_value, frozenset(reader.placeholders)
    )


def bind_placeholders(
    names: Mapping[str, str], values: Mapping[str, Value], placeholders: set[str]
) -> ExpressionContext:
    """Names and values of a request, of which all and no others must be used.

    Errors: Wrong.
    """
    given = names.keys() | values.keys()
    for missing in sorted(placeholders - given):
        raise InvalidRequest(f"An expression attribute name or value is not defined: {missing}")
    for spare in sorted(given - placeholders):
        raise InvalidRequest(
            f"Value provided in ExpressionAttribute unused in expressions: {spare}"
        )
    return ExpressionContext({}, names, {name: normalize(value) for name, value in values.items()})


def apply_update(change: UpdateExpression, context: ExpressionContext) -> Image:
    """The item after an update; all operands are read from the item before it.

    Errors: Wrong where an operand is not there or no number.
    """
    after = dict(context.image)
    for name, operand in change.sets:
        value = operand(context)
        if value is None:
            raise InvalidRequest(
                "The provided expression refers to an attribute that does not exist in the item"
            )
        after[context.attribute_name(name)] = value
    for name in change.removes:
        after.pop(context.attribute_name(name), None)
    return after


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        if len(text.encode()) > _EXPRESSION_BYTES_MAX:
            raise InvalidRequest("Expression size has exceeded the maximum allowed size")
        self._source = text
        self._tokens = _tokenize(text)
        self._position = 0
        self.placeholders: set[str] = set()
        self.paths: set[Path] = set()

    def is_at_end(self) -> bool:
        return self._position == len(self._tokens)

    def expect_end(self) -> None:
        if not self.is_at_end():
            raise self._syntax_error()

    def peek(self, ahead: int = 0) -> str:
        place = self._position + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def take_token(self) -> str:
        token = self.peek()
        self._position += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token and self.peek().upper() != token:
            raise self._syntax_error()
        self._position += 1

    def parse_list(self, parse_one: Callable[[], _T]) -> list[_T]:
        parts = [parse_one()]
        while self.peek() == ",":
            self._position += 1
            parts.append(parse_one())
        return parts

    def parse_disjunction(self) -> Test:
        tests = [self._parse_conjunction()]
        while self.peek().upper() == "OR":
            self._position += 1
            tests.append(self._parse_conjunction())
        return tests[0] if len(tests) == 1 else lambda at: any(test(at) for test in tests)

    def parse_assignment(self) -> tuple[str, Operand]:
        name = self.parse_attribute()
        self.expect("=")
        left = self._parse_operand(update=True)
        sign = {"+": 1, "-": -1}.get(self.peek())
        if sign is None:
            return name, left
        self._position += 1
        right = self._parse_operand(update=True)
        return name, lambda at: _sum(left(at), right(at), sign)

    def parse_attribute(self) -> str:
        """An attribute at the top of the item: the fake changes nothing deeper."""
        path = self._parse_path()
        if len(path) != 1:
            raise InvalidRequest(f"the fake changes no nested attribute: {'.'.join(path)}")
        return path[0]

    def parse_placeholder(self) -> str:
        token = self.take_token()
        if not token.startswith(":"):
            raise self._syntax_error()
        self.placeholders.add(token)
        return token

    def _parse_conjunction(self) -> Test:
        tests = [self._parse_negation()]
        while self.peek().upper() == "AND":
            self._position += 1
            tests.append(self._parse_negation())
        return tests[0] if len(tests) == 1 else lambda at: all(test(at) for test in tests)

    def _parse_negation(self) -> Test:
        if self.peek().upper() != "NOT":
            return self._parse_predicate()
        self._position += 1
        test = self._parse_negation()
        return lambda at: not test(at)

    def _parse_predicate(self) -> Test:
        if self.peek() == "(":
            return self._parse_group()
        if self.peek(1) == "(" and self.peek() in _FUNCTIONS:
            return self._parse_function()
        return self._parse_comparison()

    def _parse_group(self) -> Test:
        self.expect("(")
        start, is_doubled = self._position, self.peek() == "("
        test = self.parse_disjunction()
        if (
            is_doubled
            and self.peek() == ")"
            and _closing_parenthesis(self._tokens, start) == self._position - 1
        ):
            raise InvalidRequest("The expression has redundant parentheses")
        self.expect(")")
        return test

    def _parse_function(self) -> Test:
        name = self.take_token()
        self.expect("(")
        path = self._parse_path()
        if name == "begins_with":
            self.expect(",")
            prefix = self.parse_placeholder()
            self.expect(")")
            return lambda at: _begins_with(at.resolve(path), at.values[prefix])
        if name == "if_not_exists":
            raise self._syntax_error()
        self.expect(")")
        if name == "attribute_exists":
            return lambda at: at.resolve(path) is not None
        return lambda at: at.resolve(path) is None

    def _parse_comparison(self) -> Test:
        left = self._parse_operand()
        sign = self.take_token().upper()
        if sign == "IN":
            return self._parse_membership(left)
        if sign == "BETWEEN":
            low = self._parse_operand()
            self.expect("AND")
            high = self._parse_operand()
            return lambda at: _is_between(left(at), low(at), high(at))
        right = self._parse_operand()
        if sign == "=":
            return lambda at: equal(left(at), right(at))
        if sign == "<>":
            return lambda at: not equal(left(at), right(at))
        holds = _COMPARISONS.get(sign)
        if holds is None:
            raise self._syntax_error()
        return lambda at: _satisfies(holds, compare(left(at), right(at)))

    def _parse_membership(self, left: Operand) -> Test:
        self.expect("(")
        choices = self.parse_list(self._parse_operand)
        self.expect(")")
        if len(choices) > _IN_OPERANDS_MAX:
            raise InvalidRequest("The IN operator is provided with too many operands")
        return lambda at: any(equal(left(at), choice(at)) for choice in choices)

    def _parse_operand(self, *, update: bool = False) -> Operand:
        word = self.peek()
        if word.startswith(":"):
            name = self.parse_placeholder()
            return lambda at: at.values[name]
        if update and word == "if_not_exists" and self.peek(1) == "(":
            self._position += 2
            path = self._parse_path()
            self.expect(",")
            other = self._parse_operand(update=True)
            self.expect(")")
            return lambda at: found if (found := at.resolve(path)) is not None else other(at)
        path = self._parse_path()
        return lambda at: at.resolve(path)

    def _parse_path(self) -> Path:
        parts = [self._parse_name()]
        while self.peek() == ".":
            self._position += 1
            parts.append(self._parse_name())
        path = tuple(parts)
        self.paths.add(path)
        return path

    def _parse_name(self) -> str:
        token = self.take_token()
        if not token or not (token[0] == "#" or token[0].isalpha() or token[0] == "_"):
            raise self._syntax_error()
        if token.upper() in _KEYWORDS or (self.peek() == "("):
            raise self._syntax_error()
        if token[0] == "#":
            self.placeholders.add(token)
        return token

    def _syntax_error(self) -> InvalidRequest:
        near = " ".join(self._tokens[max(0, self._position - 2) : self._position + 2])
        return InvalidRequest(
            f"Syntax error, or nothing the fake knows, near {near!r} in {self._source!r}"
        )


def _tokenize(text: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise InvalidRequest(f"Syntax error, or nothing the fake knows, at {text[place:]!r}")
        tokens.append(found["word"] or found["sign"])
        place = found.end()
    return tokens


def _closing_parenthesis(tokens: list[str], opening: int) -> int:
    """Where the parenthesis that opens there closes."""
    depth = 0
    for place in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[place], 0)
        if depth == 0:
            return place
    return len(tokens)


def _sum(left: Value | None, right: Value | None, sign: int) -> Value | None:
    return None if left is None or right is None else add_or_subtract(left, right, sign)


def _begins_with(value: Value | None, prefix: Value) -> bool:
    return value is not None and "S" in value and value["S"].startswith(prefix["S"])


def _is_between(value: Value | None, low: Value | None, high: Value | None) -> bool:
    above, below = compare(low, value), compare(value, high)
    return above is not None and below is not None and above <= 0 and below <= 0


def _satisfies(is_satisfied: Callable[[int], bool], order: int | None) -> bool:
    return order is not None and is_satisfied(order)
