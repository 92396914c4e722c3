"""Builder of one conditional Update: clauses of its expression and condition, with their values."""

from typing import Any

from ledger.dynamodb.table import Key, Update


class UpdateBuilder:
    """Collects the SET, REMOVE and condition clauses of an Update, in the order they are added.

    A clause names its values (`:amount`) and names (`#status`); they are given without the prefix.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._sets: list[str] = []
        self._removes: list[str] = []
        self._conditions: list[str] = []
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def set(self, clause: str, **values: object) -> None:
        """Add an assignment to SET."""
        self._sets.append(clause)
        self._add_values(values)

    def remove(self, *attributes: str) -> None:
        """Add attributes to REMOVE."""
        self._removes += attributes

    def require(self, clause: str, **values: object) -> None:
        """Add a condition; all of them must hold."""
        self._conditions.append(clause)
        self._add_values(values)

    def name(self, attribute: str) -> None:
        """Define the placeholder of an attribute whose name is a reserved word of DynamoDB."""
        self._names[f"#{attribute}"] = attribute

    def build(self) -> Update:
        """The update with everything added so far."""
        expression = "SET " + ", ".join(self._sets)
        if self._removes:
            expression += " REMOVE " + ", ".join(self._removes)
        return Update(
            key=self._key,
            expression=expression,
            condition=" AND ".join(self._conditions) or None,
            names=self._names,
            values=self._values,
        )

    def _add_values(self, values: dict[str, object]) -> None:
        for name, value in values.items():
            self._values[f":{name}"] = value
