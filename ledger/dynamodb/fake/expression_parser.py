"""Parser of the part of DynamoDB's expression language that is used here; refuses the rest.

An expression is parsed once into functions, which then apply to any item, names and values.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.values import Image, Value, add_or_subtract, compare, equal

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


class ExpressionContext(NamedTuple):
    """The item, names and values that an expression is applied to."""

    image: Image
    names: Mapping[str, str]
    values: Mapping[str, Value]

    def resolve(self, path: Path) -> Value | None:
        """The value at a path; None if there is none."""
        image = self.image
        value: Value | None = None
        for part in path:
            value = image.get(self.attribute_name(part))
            if value is None:
                return None
            image = value.get("M", {})
        return value

    def attribute_name(self, name: str) -> str:
        """The attribute that one level of a path names."""
        return self.names[name] if name[0] == "#" else name


Test = Callable[[ExpressionContext], bool]
Operand = Callable[[ExpressionContext], Value | None]


class ExpressionParser:
    """Recursive descent parser of one expression."""

    def __init__(self, text: str) -> None:
        if len(text.encode()) > _EXPRESSION_BYTES_MAX:
            raise InvalidRequest("Expression size has exceeded the maximum allowed size")
        self._source = text
        self._tokens = _tokenize(text)
        self._position = 0
        self.placeholders: set[str] = set()
        self.paths: set[Path] = set()

    def is_at_end(self) -> bool:
        """Whether all tokens were read."""
        return self._position == len(self._tokens)

    def expect_end(self) -> None:
        """Require that all tokens were read. Errors: InvalidRequest."""
        if not self.is_at_end():
            raise self._syntax_error()

    def peek(self, ahead: int = 0) -> str:
        """The next token, or one after it; empty at the end."""
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else ""

    def take_token(self) -> str:
        """Read the next token; empty at the end."""
        token = self.peek()
        self._position += 1
        return token

    def expect(self, token: str) -> None:
        """Read this token. Errors: InvalidRequest for another."""
        if self.peek() != token and self.peek().upper() != token:
            raise self._syntax_error()
        self._position += 1

    def parse_list(self, parse_one: Callable[[], _T]) -> list[_T]:
        """Parse one or more parts separated by commas."""
        parts = [parse_one()]
        while self.peek() == ",":
            self._position += 1
            parts.append(parse_one())
        return parts

    def parse_disjunction(self) -> Test:
        """Parse a condition: conjunctions joined by OR. Errors: InvalidRequest."""
        tests = [self._parse_conjunction()]
        while self.peek().upper() == "OR":
            self._position += 1
            tests.append(self._parse_conjunction())
        return tests[0] if len(tests) == 1 else lambda context: any(test(context) for test in tests)

    def parse_assignment(self) -> tuple[str, Operand]:
        """Parse one assignment of SET: the attribute and its operand. Errors: InvalidRequest."""
        name = self.parse_attribute()
        self.expect("=")
        left = self._parse_operand(update=True)
        sign = {"+": 1, "-": -1}.get(self.peek())
        if sign is None:
            return name, left
        self._position += 1
        right = self._parse_operand(update=True)
        return name, lambda context: _sum(left(context), right(context), sign)

    def parse_attribute(self) -> str:
        """A top-level attribute; the fake does not change nested ones."""
        path = self._parse_path()
        if len(path) != 1:
            raise InvalidRequest(f"the fake does not change nested attributes: {'.'.join(path)}")
        return path[0]

    def parse_placeholder(self) -> str:
        """Read the placeholder of a value. Errors: InvalidRequest."""
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
        return tests[0] if len(tests) == 1 else lambda context: all(test(context) for test in tests)

    def _parse_negation(self) -> Test:
        if self.peek().upper() != "NOT":
            return self._parse_predicate()
        self._position += 1
        test = self._parse_negation()
        return lambda context: not test(context)

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
            return lambda context: _begins_with(context.resolve(path), context.values[prefix])
        if name == "if_not_exists":
            raise self._syntax_error()
        self.expect(")")
        if name == "attribute_exists":
            return lambda context: context.resolve(path) is not None
        return lambda context: context.resolve(path) is None

    def _parse_comparison(self) -> Test:
        left = self._parse_operand()
        sign = self.take_token().upper()
        if sign == "IN":
            return self._parse_membership(left)
        if sign == "BETWEEN":
            low = self._parse_operand()
            self.expect("AND")
            high = self._parse_operand()
            return lambda context: _is_between(left(context), low(context), high(context))
        right = self._parse_operand()
        if sign == "=":
            return lambda context: equal(left(context), right(context))
        if sign == "<>":
            return lambda context: not equal(left(context), right(context))
        holds = _COMPARISONS.get(sign)
        if holds is None:
            raise self._syntax_error()
        return lambda context: _satisfies(holds, compare(left(context), right(context)))

    def _parse_membership(self, left: Operand) -> Test:
        self.expect("(")
        choices = self.parse_list(self._parse_operand)
        self.expect(")")
        if len(choices) > _IN_OPERANDS_MAX:
            raise InvalidRequest("The IN operator is provided with too many operands")
        return lambda context: any(equal(left(context), choice(context)) for choice in choices)

    def _parse_operand(self, *, update: bool = False) -> Operand:
        word = self.peek()
        if word.startswith(":"):
            name = self.parse_placeholder()
            return lambda context: context.values[name]
        if update and word == "if_not_exists" and self.peek(1) == "(":
            self._position += 2
            path = self._parse_path()
            self.expect(",")
            other = self._parse_operand(update=True)
            self.expect(")")
            return lambda context: (
                found if (found := context.resolve(path)) is not None else other(context)
            )
        path = self._parse_path()
        return lambda context: context.resolve(path)

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
            f"Syntax error, or unsupported by the fake, near {near!r} in {self._source!r}"
        )


def _tokenize(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise InvalidRequest(
                f"Syntax error, or unsupported by the fake, at {text[position:]!r}"
            )
        tokens.append(found["word"] or found["sign"])
        position = found.end()
    return tokens


def _closing_parenthesis(tokens: list[str], opening: int) -> int:
    """Position of the parenthesis that closes the one at `opening`."""
    depth = 0
    for position in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[position], 0)
        if depth == 0:
            return position
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
