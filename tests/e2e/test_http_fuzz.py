"""Property test of the HTTP API: requests drawn from its own OpenAPI document."""

import json
import urllib.request
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from city.client.tokens import TokenSigner
from dispatch.clock import SystemClock
from tests.e2e.local_server import start_server, stop_server

# Examples of each endpoint, for each role.
EXAMPLES = 5
ANONYMOUS: dict[str, str] = {}


@pytest.fixture
def unlimited_server(tmp_path: Path):
    """A server without rate limits."""
    started = start_server(tmp_path, RATE_LIMITS="off")
    yield started
    stop_server(started)


# Drawn requests may be rare, large or slow.
SUPPRESSED_HEALTH_CHECKS = (
    HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large,
    HealthCheck.large_base_example,
)  # fmt: skip


def call_operation(operation, headers, answers):
    """Send requests that an endpoint's description allows."""

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=SUPPRESSED_HEALTH_CHECKS,
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def send(case):
        answer = case.call(headers=headers)
        answers.append((answer.status_code, case.method, case.path))

    send()


@pytest.mark.slow
def test_no_request_breaks_the_server(unlimited_server):
    """Requests drawn from /openapi.json, in every role or none, cause no 500 and no traceback."""
    signer = TokenSigner(unlimited_server.secret, SystemClock().now_ms)
    with urllib.request.urlopen(f"{unlimited_server.url}/openapi.json", timeout=10) as answer:
        document = json.load(answer)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=unlimited_server.url)
    operations = [found.ok() for found in schema.get_all_operations()]
    answers: list[tuple[int, str, str]] = []
    for operation in operations:
        roles = operation.definition.raw.get("x-roles", [])
        bearers = [{"Authorization": f"Bearer {signer.sign(role, 'fuzz')}"} for role in roles]
        for headers in (*bearers, ANONYMOUS):
            call_operation(operation, headers, answers)

    assert len(operations) == sum(len(methods) for methods in document["paths"].values())
    assert [each for each in answers if each[0] in (429, 500)] == []
    assert {200, 400, 401, 404} <= {status for status, _, _ in answers}
    assert "Traceback" not in unlimited_server.log.read_text()
