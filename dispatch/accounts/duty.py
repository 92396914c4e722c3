"""Duty: riders take orders and vendors open, if their standing permits it when it is written."""

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.store import set_vendor_online
from dispatch.clock import Clock
from dispatch.riders.store import set_availability
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import Table, TransactionCancelled, Update


class Duty:
    """Puts riders on and off duty, opens and closes vendors.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, rules: StandingRules, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._rules = rules
        self._clock = clock

    async def set_rider_available(
        self, rider_id: str, *, available: bool, until_ms: int | None = None
    ) -> None:
        """Save whether a rider takes orders, and until when. Units: Unix milliseconds.

        Errors: Refused NOT_APPROVED for going on duty.
        DynamoDB: one transaction, for going on duty with a Check of STANDING; idempotent.
        """
        update = set_availability(rider_id, available=available, until_ms=until_ms)
        await self._write(update, "RIDER", rider_id, begins=available)

    async def set_vendor_online(self, vendor_id: str, *, online: bool) -> None:
        """Open or close a vendor for orders.

        Errors: Refused NOT_APPROVED for opening.
        DynamoDB: one transaction, for opening with a Check of STANDING; idempotent.
        """
        update = set_vendor_online(vendor_id, self._clock.now_ms(), online=online)
        await self._write(update, "VENDOR", vendor_id, begins=online)

    async def _write(
        self, update: Update, user_type: OwnerType, person_id: str, *, begins: bool
    ) -> None:
        checks = [self._rules.check_active(user_type, person_id)] if begins else []
        try:
            await self._table.transact([update, *checks])
        except TransactionCancelled as cancelled:
            raise self._rules.refusal(cancelled.reasons[1].item) from cancelled
