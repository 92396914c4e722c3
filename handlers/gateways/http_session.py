"""HTTP sessions to the operator's gateways: nothing that the library does on its own."""

import aiohttp

# Source: the server's own bounds for a line and a header of a request.
_LINE_BYTES_MAX = 8_190
_REDIRECTS = range(300, 400)


async def _refuse_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Fail where the gateway redirects: a signed body goes to the configured host and no other.

    Errors: ClientResponseError.
    """
    response = await handler(request)
    if response.status in _REDIRECTS:
        response.close()
        raise aiohttp.ClientResponseError(
            response.request_info, (), status=response.status, message="redirects are not followed"
        )
    return response


def open_http_session(total_s: float) -> aiohttp.ClientSession:
    """A session whose every request ends within `total_s` seconds.

    Cookies, redirects, proxies of the environment and compressed answers are off.

    Source: docs/decisions/0024.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=total_s),
        headers={"Accept-Encoding": "identity", "User-Agent": "reeyo-dispatch"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=_LINE_BYTES_MAX,
        max_field_size=_LINE_BYTES_MAX,
        middlewares=(_refuse_redirects,),
    )
