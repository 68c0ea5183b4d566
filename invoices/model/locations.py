"""Locations of documents in a source, as text of bounded length."""

from __future__ import annotations

import hashlib

MAX_SECTION_BYTES = 80
MAX_LOCATION_BYTES = 1500  # an entry in a PostgreSQL index has at most 2,704 bytes
MAX_PART_LOCATION_BYTES = 2400  # with the section


def truncate_with_hash(text: str, max_bytes: int = MAX_LOCATION_BYTES) -> str:
    """Return a text of at most ``max_bytes`` bytes: a longer one is cut and gets a hash of the whole."""
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= max_bytes:
        return text
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: max_bytes - len(digest) - 3].decode('utf-8', 'ignore')}…{digest}"


def build_part_location(location: str, section: str) -> str:
    """Return the location of the part with this section number in the file or mail at ``location``."""
    return truncate_with_hash(f"{location}/;SECTION={section}", MAX_PART_LOCATION_BYTES)
