"""Checks of standing that belong to a transition: the customer's, the vendor's and the rider's."""

from dispatch.accounts.standing import StandingRules
from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.orders.unit_of_work import ExtraWrite
from ledger.dynamodb.table import Item


class StandingChecks:
    """Builds the checks; each refuses with what the stored standing says at the write."""

    def __init__(self, rules: StandingRules) -> None:
        self._rules = rules

    def of_customer(self, user_id: str) -> ExtraWrite:
        """The check that a customer may order: not suspended, its phone proven."""
        check = self._rules.check_active("USER", user_id)
        return ExtraWrite(check, self._rules.refusal(None), self._rules.refusal)

    def of_vendor(self, vendor_id: str) -> ExtraWrite:
        """The check that a vendor may sell; a customer is not told why not."""
        check = self._rules.check_active("VENDOR", vendor_id)
        return ExtraWrite(check, Refused(Refusal.VENDOR_CLOSED, "the vendor is closed"))

    def of_rider(self, rider_id: RiderId) -> ExtraWrite:
        """The check that a rider may be offered an order, and accept it."""

        def refusal(item: Item | None) -> Refused:
            refused = self._rules.refusal(item, rider_id)
            details: dict[str, object] = {"riderId": rider_id, **(refused.details or {})}
            return Refused(refused.code, refused.message, details)

        return ExtraWrite(self._rules.check_active("RIDER", rider_id), refusal(None), refusal)
