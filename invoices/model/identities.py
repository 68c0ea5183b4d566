"""Identities, all derived from content: the same bytes get the same id on every machine and in every run."""

from __future__ import annotations

import hashlib
import re

_RECEIPT_ID_PATTERN = re.compile(r"[0-9a-f]{32}-v[0-9]{1,9}")


def compute_document_sha256(content: bytes) -> str:
    """Return the identity of a document: the SHA-256 of its bytes in 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def compute_sighting_id(source_name: str, location: str, document_sha256: str) -> str:
    """Return the identity of one (source, location, content); the same combination has the same id."""
    return _hash_parts("sighting", source_name, location, document_sha256)


def compute_message_key(source_name: str, location: str) -> str:
    """Return the identity of a mail at one location; the same bytes at another location are another mail."""
    return _hash_parts("message", source_name, location)


def compute_extraction_id(document_sha256: str, extracted_by: str, configuration: str, generation: int = 1) -> str:
    """Return the identity of one extraction of a document; a new generation only follows a final failure."""
    return _hash_parts("extraction", document_sha256, extracted_by, configuration, str(generation))


def compute_invoice_id(document_sha256: str, ordinal: int) -> str:
    """Return the identity of the ``ordinal``-th invoice (from 1) in a document."""
    return _hash_parts("invoice", document_sha256, str(ordinal))


def format_receipt_id(invoice_id: str, version: int = 1) -> str:
    """Return the key under which an invoice's receipt is published; a correction increments ``version``."""
    return f"{invoice_id}-v{version}"


def is_receipt_id(text: str) -> bool:
    """Return whether this program may have made this key of a receipt."""
    return _RECEIPT_ID_PATTERN.fullmatch(text) is not None


def _hash_parts(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
