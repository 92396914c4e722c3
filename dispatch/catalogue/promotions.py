"""Promotions: discounts applied to orders, and created, listed and stopped by operators."""

from contextlib import suppress
from typing import Any

import msgspec

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import OperatorAct, audit_record, resource_of
from dispatch.events.idempotency_records import RequestKey, write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from dispatch.wire.http.promotions import NewPromotion
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Table, TransactionCancelled
from ledger.records.promotions import (
    DiscountedPricing,
    Promotion,
    PromotionRefusal,
    PromotionState,
    apply_promotion,
    create_promotion,
    promotion_key,
    promotion_list_pk,
    promotion_use_key,
    read_promotion,
    stop_promotion,
)


class Promotions:
    """Reads and writes promotions; every change writes an audit record with it.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._answers = KeptAnswers(table, clock)
        self._clock = clock

    async def apply(self, code: str, user_id: str, pricing: Pricing) -> DiscountedPricing:
        """The price of a customer's order with a promotion's discount. Units: whole XAF.

        Errors: Refused PROMO_REFUSED, with the reason in its details.

        DynamoDB: BatchGetItem.
        """
        normalized = code.upper()
        keys = [promotion_key(normalized), promotion_use_key(normalized, user_id)]
        item, use = await self._table.get_many(keys)
        if item is None:
            raise Refused(
                Refusal.PROMO_REFUSED, f"there is no promotion {code}", {"reason": "unknown"}
            )
        used = use["used"] if use else 0
        priced = apply_promotion(read_promotion(item), pricing, used, self._clock.now_ms())
        if isinstance(priced, PromotionRefusal):
            raise Refused(Refusal.PROMO_REFUSED, priced.message, {"reason": priced.reason})
        return priced

    async def get(self, code: str) -> Promotion:
        """One promotion.

        Errors: Refused NOT_FOUND.

        DynamoDB: GetItem.
        """
        item = await self._table.get(promotion_key(code.upper()))
        if item is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no promotion {code}")
        return read_promotion(item)

    async def create(
        self, body: NewPromotion, by: str, request_key: RequestKey | None = None
    ) -> dict[str, Any]:
        """Create a promotion; a code is never used again, not even after its promotion.

        DynamoDB: GetItem, then one transaction of the promotion, the audit record and the
            idempotency record.
        Errors: Refused MALFORMED for contradictory terms; CONFLICT for a code that exists.
        """
        first = await self._answers.find(request_key)
        if first is not None:
            return first
        promotion = _build_promotion(body, by, self._clock.now_ms())
        answer, now_ms = promotion_view(promotion), promotion.created_at
        act = OperatorAct(
            action="create_promotion",
            actor=by,
            resource=resource_of("promotion", promotion.code),
            details=answer,
        )
        record = audit_record(act, now_ms)
        writes = [create_promotion(promotion), record]
        if request_key is not None:
            writes.append(write_record(request_key, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled as cancelled:
            # A copy of the same request may have been first.
            first = await self._answers.find(request_key)
            if first is None:
                message = f"there was a promotion {promotion.code} before"
                raise Refused(Refusal.CONFLICT, message) from cancelled
            return first
        return answer

    async def stop(self, code: str, admin_id: str, reason: str) -> Promotion:
        """Stop a promotion: no further order gets it; stopping twice changes nothing.

        DynamoDB: GetItem twice, and one transaction of the promotion and the audit record.
        Errors: Refused NOT_FOUND.
        """
        promotion = await self.get(code)
        if promotion.promo_state is PromotionState.STOPPED:
            return promotion
        now_ms = self._clock.now_ms()
        act = OperatorAct(
            action="stop_promotion",
            actor=admin_id,
            resource=resource_of("promotion", promotion.code),
            reason=reason,
        )
        record = audit_record(act, now_ms)
        with suppress(TransactionCancelled):
            # Another operator may have stopped it first.
            await self._table.transact([stop_promotion(promotion.code, now_ms), record])
        return await self.get(code)

    async def list_by_state(
        self, state: PromotionState, page: PageRequest
    ) -> tuple[list[Promotion], str | None]:
        """One page of the promotions in a state, newest first, and the next page's cursor.

        Errors: Refused MALFORMED for a cursor of another list.

        DynamoDB: Query of GSI2.
        """
        shard = ListShard(promotion_list_pk(state), "GSI2", forward=False)
        items, cursor = await query_shards(self._table, [shard], page)
        return [read_promotion(item) for item in items], cursor


def _build_promotion(body: NewPromotion, by: str, now_ms: int) -> Promotion:
    starts_at = now_ms if body.starts_at is None else body.starts_at
    if (body.percent_bps is None) == (body.amount is None):
        raise Refused(Refusal.MALFORMED, "percentBps, amount: one of them, and not both")
    if body.cap is not None and body.percent_bps is None:
        raise Refused(Refusal.MALFORMED, "cap: only a percentage has one")
    if not max(starts_at, now_ms) < body.ends_at:
        raise Refused(Refusal.MALFORMED, "endsAt: after startsAt and after now")
    return Promotion(
        code=body.code.upper(),
        services=tuple(dict.fromkeys(body.services)),
        starts_at=starts_at,
        ends_at=body.ends_at,
        per_user=body.per_user,
        budget=body.budget,
        percent_bps=body.percent_bps,
        amount=body.amount,
        cap=body.cap,
        min_order_amount=body.min_order_amount,
        created_by=by,
        created_at=now_ms,
        updated_at=now_ms,
    )


def promotion_view(promotion: Promotion) -> dict[str, Any]:
    """A promotion as operators see it: its fields, `status`, and the budget that is left."""
    fields = msgspec.to_builtins(promotion)
    status = fields.pop("promoState")
    given = {name: value for name, value in fields.items() if value is not None}
    return {**given, "status": status, "left": promotion.budget - promotion.spent}
