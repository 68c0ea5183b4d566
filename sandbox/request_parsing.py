"""Parses headers and query values that several vendors have."""

from __future__ import annotations

import re

from starlette.requests import Request


def parse_content_length(request: Request) -> int:
    """Return the Content-Length of a request; 0 if it is missing or not a number."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def parse_positive_or_none(text: str) -> int | None:
    """Return a whole number from 1 to 999,999,999, or None for any other text."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) and int(text) > 0 else None
