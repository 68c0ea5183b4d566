"""Parts of a multipart form: the document with a name that fits a header, and plain fields beside it."""

from __future__ import annotations

from invoices.clients.transport import Part


def document_part(content: bytes, file_name: str, media_type: str) -> Part:
    """Return the document as a part of a form."""
    return _wire_name(file_name), content, media_type


def field_part(value: str) -> Part:
    """Return a plain form field, without file name and media type."""
    return None, value.encode(), None


def _wire_name(file_name: str) -> str:
    """Return a name that fits a multipart header: the last part of a path, printable, at most 200 characters."""
    last = file_name.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode("utf-8")
    name = "".join(character if character.isprintable() and character != '"' else "_" for character in last)
    return name[-200:] or "document"
