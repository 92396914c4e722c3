"""The operators' console: content types, caching, content security, and its token under --dev."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from handlers.http.framework.console import add_console

PAGE = '<html><meta name="reeyo-session" content="paste"></html>'


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A built console."""
    (tmp_path / "secret.json").write_text("{}")
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / ".built").write_text("")
    (folder / "assets" / "main-ABC.js").write_text("run()")
    (folder / "assets" / "main-ABC.js.br").write_bytes(b"packed")
    (folder / "assets" / "main-ABC.css").write_text("a{}")
    (folder / "assets" / "city.pmtiles").write_bytes(bytes(range(100)))
    (folder / "assets" / "notes.txt").write_text("not a file of the console")
    return folder


@asynccontextmanager
async def serve_console(
    dist: Path, token: Callable[[], str] | None
) -> AsyncIterator[ClientSession]:
    """A client of a server that has the console and nothing else."""
    app = web.Application()
    add_console(app, dist=dist, dev_token=token)
    async with (
        TestServer(app) as server,
        ClientSession(server.make_url("/"), auto_decompress=False) as client,
    ):
        yield client


@pytest.fixture
async def client(dist: Path) -> AsyncIterator[ClientSession]:
    """A client of a server in production."""
    async with serve_console(dist, None) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_short_paths_redirect_to_the_console(client: ClientSession, path: str):
    """/ and /console redirect, and keep the query."""
    async with client.get(path + "?a=1", allow_redirects=False) as answer:
        assert answer.status == 302
        assert answer.headers["Location"] == "/console/?a=1"


@pytest.mark.parametrize("path", ["/", "/console"])
@pytest.mark.parametrize(
    "query", ["x=%0d%0aSet-Cookie:a=b", "%0A=%0d", "a=%00&b=%E2%80%AE", "a=%ff"]
)
async def test_a_redirect_keeps_the_query_as_it_was_sent(
    client: ClientSession, path: str, query: str
):
    """A line break in it stays encoded, and makes no second header."""
    url = URL(f"{path}?{query}", encoded=True)
    async with client.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"/console/?{query}")
        assert "Set-Cookie" not in answer.headers


async def test_the_page_is_revalidated_each_time(client: ClientSession):
    """It names the hashed files that belong together, so it must not be stale."""
    async with client.get("/console/") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert await answer.text() == PAGE


async def test_hashed_files_are_cached_as_immutable(client: ClientSession):
    """A file that changes gets another name."""
    async with client.get("/console/assets/main-ABC.css") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"


async def test_an_unchanged_page_is_not_sent_again(client: ClientSession):
    """A request with its ETag gets 304."""
    async with client.get("/console/") as first:
        etag = first.headers["ETag"]
    async with client.get("/console/", headers={"If-None-Match": etag}) as second:
        assert second.status == 304


async def test_precompressed_files_are_served(client: ClientSession):
    """A client that accepts Brotli gets the file that the build has compressed."""
    headers = {"Accept-Encoding": "br"}
    async with client.head("/console/assets/main-ABC.js", headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "br"
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Content-Length"] == str(len(b"packed"))
        assert answer.headers["Vary"] == "Accept-Encoding"


async def test_map_tiles_are_served_by_range(client: ClientSession):
    """Of a map of a country, which is one file, a browser needs a few kilobytes."""
    headers = {"Range": "bytes=10-12"}
    async with client.get("/console/assets/city.pmtiles", headers=headers) as answer:
        assert answer.status == 206
        assert await answer.read() == bytes([10, 11, 12])


@pytest.mark.parametrize("path", ["/console/", "/console/assets/main-ABC.css", "/console/nothing"])
async def test_the_content_security_policy_allows_the_own_origin_only(
    client: ClientSession, path: str
):
    """Every response has it, that for a missing file too."""
    async with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "assets",
        "assets/",
        "assets/notes.txt",
        "assets/main-ABC.js.br",
        ".built",
        "../secret.json",
        "..%2fsecret.json",
        "assets/..%2f..%2fsecret.json",
        "%2fetc%2fpasswd",
        "assets%5c..%5csecret.json",
        "index.html%00.js",
        "a" * 300 + ".js",
        "a/" * 300 + "a.js",
    ],
)
async def test_only_files_of_the_console_are_served(client: ClientSession, name: str):
    """No file beside or above the folder, no hidden file, no other type."""
    async with client.get(f"/console/{name}") as answer:
        assert answer.status == 404


async def test_a_console_that_is_not_built_says_how_to_build_it(tmp_path: Path):
    """503 with one line; after the build no restart is needed."""
    async with serve_console(tmp_path, None) as client:
        async with client.get("/console/") as answer:
            assert answer.status == 503
            assert "npm run build" in await answer.text()
        (tmp_path / "index.html").write_text(PAGE)
        async with client.get("/console/") as answer:
            assert answer.status == 200


async def test_production_issues_no_token(client: ClientSession):
    """The path answers 404, and the page asks for a token to paste."""
    async with client.get("/console/session.json") as answer:
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "no-store"


async def test_under_dev_the_page_fetches_a_token(dist: Path):
    """The served page is told to fetch one, which is fresh each time and not cached."""
    tokens = iter(["first", "second"])
    async with serve_console(dist, lambda: next(tokens)) as client:
        async with client.get("/console/") as answer:
            assert 'content="fetch"' in await answer.text()
        for token in ("first", "second"):
            async with client.get("/console/session.json") as answer:
                assert await answer.json() == {"token": token}
                assert answer.headers["Cache-Control"] == "no-store"


LOCAL = "localhost:8080"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": LOCAL}, 200),
        ({"Host": "127.0.0.1:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": LOCAL, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": LOCAL, "Sec-Fetch-Site": "none"}, 200),
        ({"Host": LOCAL, "Origin": f"http://{LOCAL}"}, 200),
        # A page whose DNS name was changed to point here, or an address of a network.
        ({"Host": "evil.example:8080"}, 404),
        ({"Host": "127.0.0.1.evil.example"}, 404),
        ({"Host": "localhost.evil.example"}, 404),
        ({"Host": "192.168.1.5:8080"}, 404),
        ({"Host": "0.0.0.0:8080"}, 404),
        ({"Host": "[::ffff:10.0.0.1]:8080"}, 404),
        # Pages of other origins, also of this machine.
        ({"Host": LOCAL, "Origin": "http://localhost:5173"}, 404),
        ({"Host": LOCAL, "Origin": "http://127.0.0.1:8080"}, 404),
        ({"Host": LOCAL, "Origin": f"https://{LOCAL}"}, 404),
        ({"Host": LOCAL, "Origin": "null"}, 404),
        ({"Host": LOCAL, "Origin": ""}, 404),
        ({"Host": LOCAL, "Sec-Fetch-Site": "same-site"}, 404),
        ({"Host": LOCAL, "Sec-Fetch-Site": "cross-site"}, 404),
        # Behind a proxy on this machine, whoever it forwards.
        ({"Host": LOCAL, "X-Forwarded-For": "127.0.0.1"}, 404),
        ({"Host": LOCAL, "Forwarded": "for=127.0.0.1"}, 404),
        ({"Host": LOCAL, "Via": "1.1 proxy"}, 404),
        ({"Host": LOCAL, "X-Real-IP": "127.0.0.1"}, 404),
    ],
)
async def test_only_the_own_page_on_this_machine_gets_a_token(
    dist: Path, headers: dict[str, str], status: int
):
    """A rebound name, another origin and a proxy get none."""
    async with (
        serve_console(dist, lambda: "token") as client,
        client.get("/console/session.json", headers=headers) as answer,
    ):
        assert answer.status == status
