"""Bounded reading of an outside service's response body."""

import aiohttp


async def read_response_body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Read the whole body, however many parts it arrives in.

    Units: bytes.
    Errors: ValueError for a body over `bytes_max`; TimeoutError, ClientError.
    """
    body = bytearray()
    # `content.read(n)` would return as soon as the first part is there.
    async for part in response.content.iter_any():
        body += part
        if len(body) > bytes_max:
            raise ValueError(f"the answer is longer than {bytes_max} bytes")
    return bytes(body)
