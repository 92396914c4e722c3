"""Whether a service's orders are offered one by one or decided together: pure."""

from typing import NamedTuple

from dispatch.model import OfferPolicy
from ledger.core.pricing import Service


class Backlog(NamedTuple):
    """Orders that nobody has taken yet, and riders who could take one now."""

    orders: int
    riders: int

    @property
    def per_rider(self) -> float:
        """Orders that wait for each free rider."""
        return self.orders / max(1, self.riders)


class ModeSwitch:
    """What holds now; remembers only which services a backlog has moved to batches."""

    def __init__(self) -> None:
        self._policies: dict[Service, OfferPolicy] = {}
        self._backlogged: frozenset[Service] = frozenset()

    @property
    def batched_services(self) -> frozenset[Service]:
        """The services whose orders are decided together."""
        return frozenset(each for each in self._policies if self.is_batched(each))

    def is_batched(self, service: Service) -> bool:
        """Whether a service's orders are decided together."""
        policy = self._policies.get(service)
        if policy is None or policy.mode == "offers":
            return False
        return policy.mode == "batch" or service in self._backlogged

    def may_need_batch(self) -> bool:
        """Whether any service may need it that all orders are looked at together."""
        return any(policy.mode != "offers" for policy in self._policies.values())

    def set_policy(self, service: Service, policy: OfferPolicy) -> bool:
        """This policy holds from now on; whether its mode is news."""
        before = self._policies.get(service)
        self._policies[service] = policy
        return policy.mode != (before.mode if before else "offers")

    def update_backlog(self, backlog: Backlog) -> None:
        """Between the two bounds everything stays as it is: no mode flickers."""
        self._backlogged = frozenset(
            service
            for service, policy in self._policies.items()
            if backlog.per_rider > policy.batch_above
            or (service in self._backlogged and backlog.per_rider >= policy.batch_below)
        )
