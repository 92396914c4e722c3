"""Idempotency records: the first answer to a command or request, so that a repeat has no effect."""

import hashlib
from typing import Any

import msgspec

from dispatch.errors import Refusal, Refused
from ledger.dynamodb.table import Item, Key, Put, Table

# Source: chosen; clients repeat within minutes, and two days cover a device that was off for one.
RECORD_TTL_S = 48 * 3600


class RequestKey(msgspec.Struct, frozen=True, kw_only=True):
    """One request of one caller: its `commandId` or `Idempotency-Key`, and a hash of its body."""

    owner: str
    name: str
    body_hash: str

    @property
    def record_key(self) -> Key:
        """The key of the idempotency record."""
        return Key(f"IDEMPOTENCY#{self.owner}#{self.name}", "RECORD")


def request_key(owner: str, name: str, body: object) -> RequestKey:
    """The key of a request with `body` (a struct or bytes) that `owner` sent under `name`."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return RequestKey(owner=owner, name=name, body_hash=hashlib.sha256(raw).hexdigest())


class IdempotencyRecords:
    """Reads idempotency records; they are written in the transaction of the request's effect."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def find(self, request_key: RequestKey | None) -> Any | None:
        """The first answer, None where the request is new or has no key.

        DynamoDB: GetItem, consistent.
        Errors: Refused CONFLICT where the same name was used for another body.
        """
        if request_key is None:
            return None
        item = await self._table.get(request_key.record_key)
        return None if item is None else first_answer(request_key, item)


def first_answer(request_key: RequestKey, item: Item) -> Any:
    """The answer in a stored record.

    Errors: Refused CONFLICT where the same name was used for another body.
    """
    if item["bodyHash"] != request_key.body_hash:
        raise Refused(Refusal.CONFLICT, "this id was used before for another request")
    return msgspec.json.decode(item["answer"])


def write_record(request_key: RequestKey, answer: object, now_ms: int) -> Put:
    """The write of a record; its condition fails for every repeat. Units: Unix milliseconds."""
    item: Item = {
        "PK": request_key.record_key.pk,
        "SK": request_key.record_key.sk,
        "bodyHash": request_key.body_hash,
        "answer": msgspec.json.encode(answer).decode(),
        "createdAt": now_ms,
        "ttl": now_ms // 1000 + RECORD_TTL_S,
    }
    return Put(item=item, condition="attribute_not_exists(PK)")
