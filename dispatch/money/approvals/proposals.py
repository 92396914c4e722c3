"""Proposals: decides whether an act needs another person, and writes it down if it does."""

from collections.abc import Callable

from dispatch import ids
from dispatch.clock import Clock
from dispatch.money.approvals.acts import MoneyAct, audited
from dispatch.money.approvals.model import APPROVAL_TTL_MS, Approval, ProposedAct
from dispatch.money.approvals.store import ApprovalStore, keep_approved
from dispatch.money.idempotent_store import Answer, KeptRequest
from dispatch.orders.unit_of_work import Caller

# What an effect's transaction keeps, given the answer.
Keep = Callable[[Answer], KeptRequest]


class Proposals:
    """The rule of two people. Units: whole XAF.

    Errors: `propose` raises StoreUnavailable, and Refused CONFLICT where the request key was used
    for another body.
    """

    def __init__(self, approvals: ApprovalStore, above_xaf: int, clock: Clock) -> None:
        self._approvals = approvals
        self._above_xaf = above_xaf
        self._clock = clock

    def needs_two(self, amount: int) -> bool:
        """Whether an amount needs another person."""
        return amount > self._above_xaf

    async def propose(self, caller: Caller, act: ProposedAct) -> Answer:
        """Write an act down for another person's approval.

        DynamoDB: one transaction.
        """
        now_ms = self._clock.now_ms()
        approval = Approval(
            approval_id=ids.new_id("apr"),
            act=act,
            proposed_by=caller.id,
            created_at=now_ms,
            expires_at=now_ms + APPROVAL_TTL_MS,
        )
        return await self._approvals.create(caller, approval)

    def keep(self, caller: Caller, act: MoneyAct, approval: Approval | None) -> Keep:
        """What the transaction of an act keeps: its audit record, and its approval's decision."""
        if approval is not None:
            now_ms = self._clock.now_ms()
            return lambda answer: keep_approved(caller, approval, answer, now_ms)
        record = audited(act, caller.id)
        return lambda answer: KeptRequest(answer=answer, request_key=caller.request_key, act=record)


def keep_answer(caller: Caller) -> Keep:
    """What the transaction of a request keeps that is no operator's."""
    return lambda answer: KeptRequest(answer=answer, request_key=caller.request_key)
