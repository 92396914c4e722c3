"""API documentation page /docs: both API documents as tables, without scripts."""

import base64
import hashlib
import html
from collections.abc import Iterable

from handlers.http.framework.schemas import TITLE, Document

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#eee;padding:.1rem .3rem;border-radius:.2rem}"
    "table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.3rem .5rem;"
    "vertical-align:top}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}"
    "code{background:#333}td{border-color:#444}a{color:#8bf}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Source: Content Security Policy level 3; the style sheet is allowed by its hash.
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def docs_page(openapi: Document, asyncapi: Document) -> str:
    """The page for an OpenAPI and an AsyncAPI document."""
    rows = [
        _row(f"{method.upper()} {path}", operation["summary"], operation.get("x-roles", ["anyone"]))
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    sections = [f"<h2>HTTP</h2><table>{''.join(rows)}</table>"]
    sections.extend(
        f"<h2>/{audience}</h2><table>{_message_rows(audience, asyncapi)}</table>"
        for audience in asyncapi["channels"]
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{TITLE}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{TITLE}</h1><p>Every field of every message: <a href=openapi.json>openapi.json"
        f"</a>, <a href=asyncapi.json>asyncapi.json</a>.</p>{''.join(sections)}"
    )


def _message_rows(audience: str, asyncapi: Document) -> str:
    return "".join(
        _row(message["name"], message["summary"], ["event" if ".event." in key else "command"])
        for key, message in asyncapi["components"]["messages"].items()
        if key.startswith(f"{audience}.")
    )


def _row(name: str, text: str, tags: Iterable[str]) -> str:
    cells = (f"<code>{html.escape(name)}</code>", html.escape(text), html.escape(", ".join(tags)))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
