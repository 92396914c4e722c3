"""Observes which riders are offered which orders, and which engine is live."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from bench.common.scenario import Scenario
from tests.e2e.fleet import Fleet, Node


class ObservedOffer(NamedTuple):
    """An offer that a rider received, and when the engine made it. Units: Unix milliseconds."""

    offer_id: str
    made_ms: int


class OfferObserver:
    """Records the offers of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._forward = scenario.on_rider_event
        scenario.on_rider_event = self._on_event
        self.offer_counts: Counter[tuple[str, str]] = Counter()
        self._by_rider: dict[str, list[ObservedOffer]] = {}

    def _on_event(self, rider_id: str, name: str, payload: dict[str, Any], at_s: float) -> None:
        if name == "delivery_request":
            self.offer_counts[rider_id, payload.get("orderId", "")] += 1
            made_ms = payload["expiresAt"] - payload["expiresInMs"]
            offer = ObservedOffer(payload["offerId"], made_ms)
            self._by_rider.setdefault(rider_id, []).append(offer)
        self._forward(rider_id, name, payload, at_s)

    def find_overlapping(self, items: Sequence[Mapping[str, Any]]) -> list[str]:
        """Riders to whom an offer was made before an earlier one had ended, by the table's items.

        Not by the order of arrival: the end of an offer is relayed by the node at which another
        rider accepted, the next offer by the engine, and either event may be late.
        """
        past = [past for item in items for past in _past_offers(item)]
        ended_ms = {offer["offerId"]: int(offer["atMs"]) for offer in past}
        return [
            rider_id
            for rider_id, offers in self._by_rider.items()
            for before, after in pairwise(sorted(offers, key=lambda each: each.made_ms))
            if after.made_ms < ended_ms.get(before.offer_id, after.made_ms + 1)
        ]


def _past_offers(item: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The offers of an order that have ended; an accepted one has not."""
    return (item.get("dispatch") or {}).get("asked", {}).values()


async def live_engines(running: Fleet) -> list[Node]:
    """The nodes whose metrics say that their engine is live."""
    return [node for node in running.nodes if node.role != "edge" and await is_live(node)]


async def is_live(node: Node) -> bool:
    """Whether a node's metrics say that its engine is live."""
    if node.server.has_ended:
        return False
    async with node.site.session.get(f"{node.site.url}/metrics") as answer:
        return "reeyo_engines_live 1.0" in await answer.text()
