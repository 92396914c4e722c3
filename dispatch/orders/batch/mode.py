"""Matching mode of each service, offers or batches, by policy and backlog: pure."""

from typing import NamedTuple

from dispatch.model import OfferPolicy
from ledger.core.pricing import Service


class Backlog(NamedTuple):
    """Orders without a rider, and riders who could take one now."""

    orders: int
    riders: int

    @property
    def per_rider(self) -> float:
        """Waiting orders for each free rider."""
        return self.orders / max(1, self.riders)


class ModeSwitch:
    """The present mode of each service; remembers which ones a backlog has switched to batches."""

    def __init__(self) -> None:
        self._policies: dict[Service, OfferPolicy] = {}
        self._backlogged: frozenset[Service] = frozenset()

    @property
    def batched_services(self) -> frozenset[Service]:
        """The services whose orders are decided in batches."""
        return frozenset(each for each in self._policies if self.is_batched(each))

    def is_batched(self, service: Service) -> bool:
        """Whether a service's orders are decided in batches."""
        policy = self._policies.get(service)
        if policy is None or policy.mode == "offers":
            return False
        return policy.mode == "batch" or service in self._backlogged

    def may_need_batch(self) -> bool:
        """Whether the policy of any service allows batches."""
        return any(policy.mode != "offers" for policy in self._policies.values())

    def set_policy(self, service: Service, policy: OfferPolicy) -> bool:
        """Set a service's policy; returns whether its mode has changed."""
        before = self._policies.get(service)
        self._policies[service] = policy
        return policy.mode != (before.mode if before else "offers")

    def update_backlog(self, backlog: Backlog) -> None:
        """Switch services to batches or back; between the two limits each keeps its mode."""
        self._backlogged = frozenset(
            service
            for service, policy in self._policies.items()
            if backlog.per_rider > policy.batch_above
            or (service in self._backlogged and backlog.per_rider >= policy.batch_below)
        )
