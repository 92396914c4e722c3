"""Minimal DynamoDB client for comparison with aioboto3: JSON, a signature and one POST.

Unlike aioboto3 it does not retry, rotate credentials or know the regions' endpoints.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import orjson
from botocore.exceptions import ClientError

SERVICE = "dynamodb"
CONTENT_TYPE = "application/x-amz-json-1.0"
# Source: ledger.dynamodb.client, the product's client.
POOL_SIZE = 64
TIMEOUT_S = 3.0
_SIGNED_HEADERS = "content-type;host;x-amz-date;x-amz-target"


class AwsKeys(NamedTuple):
    """Credentials and region of a request."""

    access_key: str
    secret_key: str
    region: str


def signed_headers(
    keys: AwsKeys, host: str, target: str, body: bytes, at: datetime
) -> dict[str, str]:
    """The signed headers of one request. Source: AWS Signature Version 4."""
    timestamp = at.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    canonical = (
        f"POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:{timestamp}\n"
        f"x-amz-target:{target}\n\n{_SIGNED_HEADERS}\n{digest}"
    )
    scope = f"{timestamp[:8]}/{keys.region}/{SERVICE}/aws4_request"
    canonical_digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{canonical_digest}"
    key = _signing_key(keys, timestamp[:8])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {
        "Content-Type": CONTENT_TYPE,
        "X-Amz-Date": timestamp,
        "X-Amz-Target": target,
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, "
            f"SignedHeaders={_SIGNED_HEADERS}, Signature={signature}"
        ),
    }


@lru_cache(maxsize=4)
def _signing_key(keys: AwsKeys, day: str) -> bytes:
    key = f"AWS4{keys.secret_key}".encode()
    for part in (day, keys.region, SERVICE, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


class MinimalDynamoClient:
    """The calls that the ledger makes, with aioboto3's names."""

    def __init__(self, endpoint: str, keys: AwsKeys) -> None:
        self._endpoint = endpoint
        self._host = urlsplit(endpoint).netloc
        self._keys = keys
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=POOL_SIZE)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None, "left without being entered"
        await self._session.close()

    async def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem.

        Errors: ClientError.
        """
        return await self._call("GetItem", request)

    async def query(self, **request: Any) -> dict[str, Any]:
        """Query.

        Errors: ClientError.
        """
        return await self._call("Query", request)

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """TransactWriteItems.

        Errors: ClientError.
        """
        return await self._call("TransactWriteItems", request)

    async def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._session is not None, "used without being entered"
        body = orjson.dumps(request)
        target = f"DynamoDB_20120810.{operation}"
        headers = signed_headers(self._keys, self._host, target, body, datetime.now(UTC))
        async with self._session.post(self._endpoint, data=body, headers=headers) as response:
            answer = orjson.loads(await response.read())
            if response.status >= 400:
                raise _client_error(operation, response.status, answer)
            return answer


def _client_error(operation: str, status: int, body: dict[str, Any]) -> ClientError:
    """The error as aioboto3 would raise it."""
    code = str(body.get("__type", "")).rpartition("#")[2]
    message = body.get("message", body.get("Message", ""))
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "CancellationReasons": body.get("CancellationReasons", []),
    }
    return ClientError(response, operation)
