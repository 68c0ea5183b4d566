"""The body of a response: reading and decompressing it, up to a maximum size."""

from __future__ import annotations

import zlib

import requests

_CHUNK_BYTES = 64 * 1024


def read_raw_body(response: requests.Response, max_bytes: int) -> bytes | None:
    """Return the body as it was sent, still compressed, or None if it is larger than ``max_bytes``."""
    content = bytearray()
    for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
        content += chunk
        if len(content) > max_bytes:
            return None
    return bytes(content)


def decompress_body(body: bytes, encoding: str, max_bytes: int) -> tuple[bytes | None, str]:
    """Return (the content, "") or (None, the problem); never decompresses more than ``max_bytes``."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not body:
        return body, ""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None, f"it is compressed as {encoding[:30]!r}, which we did not offer"
    decompressor = zlib.decompressobj(wbits=47)  # gzip or zlib, by its header
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        return None, f"its {encoding} compression is broken"
    if len(content) > max_bytes:
        return None, f"its body decompresses to more than {max_bytes:,} bytes"
    if not decompressor.eof or decompressor.unused_data:
        return None, f"its {encoding} compression is incomplete, or more data follows it"
    return content, ""


def is_length_declared(response: requests.Response) -> bool:
    """Return whether the headers say where the body ends."""
    return "Content-Length" in response.headers or "chunked" in response.headers.get("Transfer-Encoding", "").lower()
