"""Identities, all derived from content: the same bytes give the same id on any machine, in any run."""

from __future__ import annotations

import hashlib


def document_sha256(content: bytes) -> str:
    """Return the identity of a document: the SHA-256 of its bytes in 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def sighting_id(source_name: str, location: str, document: str) -> str:
    """Return the identity of one (source, location, content); seeing the same again gives the same id."""
    return _digest("sighting", source_name, location, document)


def message_key(source_name: str, location: str) -> str:
    """Return the identity of a mail in one place: the same bytes in another place are another mail."""
    return _digest("message", source_name, location)


def extraction_id(document: str, extracted_by: str, configuration: str, generation: int = 1) -> str:
    """Return the identity of one answer about a document; a new generation only follows a terminal failure."""
    return _digest("extraction", document, extracted_by, configuration, str(generation))


def invoice_id(document: str, ordinal: int) -> str:
    """Return the identity of the ``ordinal``-th invoice (from 1) in a document."""
    return _digest("invoice", document, str(ordinal))


def receipt_id(invoice: str, version: int = 1) -> str:
    """Return the key under which an invoice's receipt is published; a correction raises ``version``."""
    return f"{invoice}-v{version}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
