"""Observes which riders are offered which orders, and which engine is live."""

from collections import Counter
from typing import Any

from bench.common.scenario import Scenario
from tests.e2e.fleet import Fleet, Node


class OfferObserver:
    """Records the offers of a scenario and any rider who had two offers at once."""

    def __init__(self, scenario: Scenario) -> None:
        self._forward = scenario.on_rider_event
        scenario.on_rider_event = self._on_event
        self.offer_counts: Counter[tuple[str, str]] = Counter()
        self.overlapping_offers: list[str] = []
        self._open_offers: dict[str, str] = {}

    def _on_event(self, rider_id: str, name: str, payload: dict[str, Any], at_s: float) -> None:
        order_id = payload.get("orderId", "")
        if name == "delivery_request":
            self.offer_counts[rider_id, order_id] += 1
            if rider_id in self._open_offers:
                self.overlapping_offers.append(rider_id)
            self._open_offers[rider_id] = order_id
        elif name == "delivery_request_closed":
            self._open_offers.pop(rider_id, None)
        self._forward(rider_id, name, payload, at_s)


async def live_engines(running: Fleet) -> list[Node]:
    """The nodes whose metrics say that their engine is live."""
    return [node for node in running.nodes if node.role != "edge" and await is_live(node)]


async def is_live(node: Node) -> bool:
    """Whether a node's metrics say that its engine is live."""
    if node.server.has_ended:
        return False
    async with node.site.session.get(f"{node.site.url}/metrics") as answer:
        return "reeyo_engines_live 1.0" in await answer.text()
