"""The API documentation page: what it lists, and what it may load."""

from handlers.http.framework.docs_page import HEADERS, docs_page

OPENAPI = {
    "paths": {
        "/orders/{orderId}": {"get": {"summary": "One <order>.", "x-roles": ["USER", "ADMIN"]}},
        "/config": {"get": {"summary": "All services."}},
    }
}
ASYNCAPI = {
    "channels": {"rider": {}},
    "components": {
        "messages": {
            "rider.pick_up": {"name": "pick_up", "summary": "Goods are picked up."},
            "rider.event.alert": {"name": "alert", "summary": "Something happened."},
        }
    },
}


def test_endpoints_commands_and_events_are_listed():
    """Each with its roles, or whether it is a command or an event; texts are escaped."""
    text = docs_page(OPENAPI, ASYNCAPI)
    assert (
        "<code>GET /orders/{orderId}</code></td><td>One &lt;order&gt;.</td><td>USER, ADMIN" in text
    )
    assert "<code>GET /config</code></td><td>All services.</td><td>anyone" in text
    assert "<code>pick_up</code></td><td>Goods are picked up.</td><td>command" in text
    assert "<code>alert</code></td><td>Something happened.</td><td>event" in text


def test_the_page_has_no_scripts_and_may_load_nothing():
    """Its content security policy allows its own style sheet and nothing else."""
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in docs_page(OPENAPI, ASYNCAPI)
