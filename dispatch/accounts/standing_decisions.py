"""Standing decisions: what operators decide about people, with audit record and recall."""

from typing import Any, NamedTuple

from msgspec.structs import replace

from dispatch.accounts.people import (
    People,
    Person,
    change_standing,
    write_notice,
)
from dispatch.accounts.revocations import (
    REVOCATION_TTL_MS,
    Revocations,
    identity_subject,
    revocation_entry,
)
from dispatch.accounts.standing import BARRED, TRANSITIONS, Standing, StandingRules
from dispatch.catalogue.store import set_vendor_online
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import OperatorAct, audit_record, resource_of
from dispatch.events.idempotency_records import IdempotencyRecords, RequestKey, write_record
from dispatch.keys import identity
from dispatch.riders.store import set_availability
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import Table, TransactionCancelled, Write

# How often a decision is taken again because another operator decided meanwhile.
ATTEMPTS_MAX = 3


class StandingDecision(NamedTuple):
    """What is decided about whom, and why."""

    user_type: OwnerType
    person_id: str
    standing: Standing
    reason: str


class StandingDecisions:
    """Writes decisions; a person who is barred loses every sign-in, token and socket.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(
        self, table: Table, people: People, revocations: Revocations, clock: Clock
    ) -> None:
        self._table = RetryableTable(table)
        self._records = IdempotencyRecords(table)
        self._people = people
        self._revocations = revocations
        self._rules = people.rules
        self._clock = clock

    async def decide(
        self, decision: StandingDecision, by: str, request_key: RequestKey | None
    ) -> dict[str, Any]:
        """Change a person's standing; the person after it. The same standing changes nothing.

        Errors: Refused WRONG_STATE for a change that is not allowed; CONFLICT where other operators
        decide at the same time, or the request key was used for another body.
        DynamoDB: one transaction of the standing, a notice to the nodes, the audit record and, for
        a barred person, the revocation of its tokens.
        Redis: SPUBLISH; while Redis is unavailable the nodes poll DynamoDB.
        """
        for _ in range(ATTEMPTS_MAX):
            first = await self._records.find(request_key)
            if first is not None:
                return first
            before = await self._people.get(decision.user_type, decision.person_id)
            if before.standing is decision.standing:
                return person_view(before, self._rules)
            self._check_transition(before, decision)
            now_ms = self._clock.now_ms()
            after = _decided(before, decision, by, now_ms)
            answer = person_view(after, self._rules)
            writes = _writes(before, after, now_ms)
            if request_key is not None:
                writes.append(write_record(request_key, answer, now_ms))
            try:
                await self._table.transact(writes)
            except TransactionCancelled:
                continue
            await self._revocations.notify_nodes()
            return answer
        raise Refused(Refusal.CONFLICT, "others decide about this person at the same time")

    def _check_transition(self, before: Person, decision: StandingDecision) -> None:
        current = self._rules.effective(before.standing)
        # Said for the first time, the standing that counted anyway is allowed too.
        if decision.standing is current and before.standing is None:
            return
        if decision.standing not in TRANSITIONS[current]:
            allowed = ", ".join(sorted(TRANSITIONS[current]))
            raise Refused(
                Refusal.WRONG_STATE,
                f"{current.value} becomes {allowed}, not {decision.standing.value}",
            )


def _decided(before: Person, decision: StandingDecision, by: str, now_ms: int) -> Person:
    is_barred = decision.standing in BARRED
    return replace(
        before,
        standing=decision.standing,
        standing_version=before.standing_version + 1,
        reason=decision.reason,
        by=by,
        standing_at=now_ms,
        sessions_valid_from=now_ms + 1 if is_barred else before.sessions_valid_from,
    )


def _writes(before: Person, after: Person, now_ms: int) -> list[Write]:
    assert after.standing is not None, "a decision sets a standing"
    act = OperatorAct(
        action="set_standing",
        actor=after.by or "",
        resource=resource_of(after.user_type.lower(), after.person_id),
        reason=after.reason,
        details={
            "standing": after.standing.value,
            "before": before.standing.value if before.standing else None,
        },
    )
    writes: list[Write] = [
        change_standing(before, after, now_ms),
        write_notice(after, now_ms),
        audit_record(act, now_ms),
    ]
    if after.standing in BARRED:
        subject = identity_subject(identity(after.user_type.lower(), after.person_id))
        writes.append(revocation_entry(subject, now_ms, now_ms + REVOCATION_TTL_MS))
    if after.standing is not Standing.APPROVED:
        # One who is approved again says itself when it takes orders again.
        if after.user_type == "RIDER":
            writes.append(set_availability(after.person_id, available=False))
        elif after.user_type == "VENDOR":
            writes.append(set_vendor_online(after.person_id, now_ms, online=False))
    return writes


def person_view(person: Person, rules: StandingRules) -> dict[str, Any]:
    """A person as operators see it."""
    view: dict[str, Any] = {
        "id": person.person_id,
        "userType": person.user_type,
        "standing": rules.effective(person.standing).value,
        "reason": person.reason,
        "by": person.by,
        "at": person.standing_at,
        "name": person.name,
        "phone": person.phone,
        "registeredAt": person.registered_at,
        "phoneVerifiedAt": person.phone_verified_at,
        "walletStatus": person.wallet_status,
    }
    return {name: value for name, value in view.items() if value is not None}
