"""Acts of operators on money: each with every value that its effect depends on.

The same struct is carried out at once or after another person's approval, and is what the audit
record keeps.
"""

import msgspec

from dispatch.events.audit_records import OperatorAct, resource_of
from ledger.core.facts import BorneBy, OwnerType


class MoneyAct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="action"):
    """Base of the acts; the tag is the action's name. Units: whole XAF, Unix milliseconds."""

    reason: str = ""

    @property
    def resource(self) -> str:
        """The resource that the act concerns."""
        raise NotImplementedError


class RefundAct(MoneyAct, frozen=True, kw_only=True, tag="refund_order"):
    """Refund a part of a settled order to its customer."""

    order_id: str
    refund_id: str
    user_id: str
    amount: int
    borne_by: BorneBy

    @property
    def resource(self) -> str:
        """The order."""
        return resource_of("order", self.order_id)


class RemittanceAct(MoneyAct, frozen=True, kw_only=True, tag="record_remittance"):
    """Book cash that a rider handed in."""

    rider_id: str
    remittance_id: str
    amount: int
    desk: str

    @property
    def resource(self) -> str:
        """The rider."""
        return resource_of("rider", self.rider_id)


class PayoutAct(MoneyAct, frozen=True, kw_only=True):
    """Base of the acts on a payout."""

    payout_id: str
    amount: int

    @property
    def resource(self) -> str:
        """The payout."""
        return resource_of("payout", self.payout_id)


class PayoutApprovalAct(PayoutAct, frozen=True, kw_only=True, tag="approve_payout"):
    """Let a requested payout be sent; what it pays to whom was fixed by its request."""

    owner_type: OwnerType
    owner_id: str
    destination: str | dict[str, str]


class PayoutRejectionAct(PayoutAct, frozen=True, kw_only=True, tag="reject_payout"):
    """Refuse a requested payout and release its amount."""


class PayoutOutcomeAct(PayoutAct, frozen=True, kw_only=True, tag="record_payout_outcome"):
    """Book by hand what came of a payout."""

    provider: str
    status: str
    fee: int = 0


class GateAct(MoneyAct, frozen=True, kw_only=True):
    """Base of the acts on the payout gate."""

    @property
    def resource(self) -> str:
        """The payout gate, of which there is one."""
        return resource_of("payout_gate")


class GateClosingAct(GateAct, frozen=True, kw_only=True, tag="stop_payouts"):
    """Stop payouts."""


class GateOpeningAct(GateAct, frozen=True, kw_only=True, tag="reopen_payouts"):
    """Let payouts continue that were stopped at a moment, for a reason that was looked into."""

    stopped_at: int
    stopped_by: str
    stopped_for: str


def audited(act: MoneyAct, actor: str) -> OperatorAct:
    """The act as its audit record keeps it."""
    fields = msgspec.to_builtins(act)
    action, reason = fields.pop("action"), fields.pop("reason", None)
    return OperatorAct(
        action=action, actor=actor, resource=act.resource, reason=reason or None, details=fields
    )
