"""Unread bodies: sends a response before the request's body has arrived, without reading for long.

A refused request may have a body of any length behind it. To read all of it costs as much as the
sender likes; to close at once may destroy the answer on its way. Source: RFC 9112 section 9.6.
"""

import asyncio

from aiohttp import StreamReader, web

# A body that is announced to be at most this long is read, so that the connection can be used on.
# Source: the default of HTTP_BODY_BYTES_MAX.
READ_BYTES_MAX = 64 * 1024
# How long the short rest may take, and how long a connection that is closed is left open, without
# reading, for the client to read its answer. Source: chosen; several round trips.
LINGER_S = 1.0


def is_long(request: web.BaseRequest) -> bool:
    """Whether a body that was not read has too long a rest, or one of unknown length."""
    length = request.content_length
    return not request.content.is_eof() and (length is None or length > READ_BYTES_MAX)


def stop_reading(request: web.BaseRequest) -> None:
    """Read no more of a long body that the endpoint has not read."""
    if is_long(request) and request.transport is not None:
        request.transport.pause_reading()


async def send_before_body(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send a response to a request whose body was not read; does nothing if none is left.

    The rest of a short body is read; after a long one the connection is closed, which the response
    must say (`force_close`).
    """
    if request.content.is_eof():
        return
    try:
        await response.prepare(request)
        await response.write_eof()
        if not is_long(request):
            await _discard(request.content)
        else:
            stop_reading(request)
            await asyncio.sleep(LINGER_S)
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        # The client has gone or does not send its body: the library closes the connection.
        return


async def _discard(body: StreamReader) -> None:
    async with asyncio.timeout(LINGER_S):
        while not body.is_eof():
            await body.readany()
