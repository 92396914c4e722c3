"""The library's DynamoDB client, configured for one long-lived process."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

import os
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader

from ledger.dynamodb.response_parsing import ReadParserFactory

# Open connections at most; at 20 ms a call they carry 3,200 calls a second.
POOL_SIZE = 64
CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 3.0
KEEPALIVE_S = 60.0


def library_client(endpoint_url: str | None, region: str) -> AbstractAsyncContextManager[Any]:
    """The low-level client of aioboto3, a context manager; making it blocks the event loop.

    `endpoint_url` is None for AWS. An engine on this machine gets placeholder credentials.

    Source: decisions 17 and 23 in docs/decisions.
    """
    config = AioConfig(
        region_name=region,
        parameter_validation=False,
        max_pool_connections=POOL_SIZE,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        # One attempt: DynamoTable retries, counts, and keeps to the deadline.
        retries={"mode": "standard", "total_max_attempts": 1},
        connector_args={"keepalive_timeout": KEEPALIVE_S},
        # DYNAMODB_ENDPOINT alone says where the money is, and no file or variable of the library.
        ignore_configured_endpoint_urls=True,
        endpoint_discovery_enabled=False,
        # A user agent that is given is not built again for every call, a twelfth of a call's CPU.
        # Source: profile of 5,500 calls, 2026-11-21.
        user_agent="reeyo-dispatch",
    )
    library: Any = get_session()
    library.register_component("response_parser_factory", ReadParserFactory())
    library.register_component("data_loader", _LoaderWithoutEndpointRules())
    session: Any = aioboto3.Session(botocore_session=library, **_credentials(endpoint_url))
    return session.client("dynamodb", endpoint_url=endpoint_url, config=config)


class _LoaderWithoutEndpointRules(Loader):
    """Loads the library's service data, but no endpoint rules.

    Without rules the library computes the address of the region once, when the client is made; with
    them it evaluates the rules for every call. Source: measured, decision 23 in docs/decisions.
    """

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Any:
        if type_name == "endpoint-rule-set-1":
            # The library's own fallback for services without rules.
            raise UnknownServiceError(service_name=service_name, known_service_names="")
        return super().load_service_model(service_name, type_name, api_version)


def _credentials(endpoint_url: str | None) -> dict[str, str]:
    host = urlsplit(endpoint_url).hostname if endpoint_url else None
    is_loopback = host in {"localhost", "::1"} or (host or "").startswith("127.")
    if not is_loopback or "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    return {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
