"""Parts of a multipart form: the document with a name that fits a header, and plain fields beside it."""

from __future__ import annotations

from invoices.clients.http_client import FormPart


def build_file_part(content: bytes, file_name: str, media_type: str) -> FormPart:
    """Return the document as a part of a form."""
    return _sanitise_file_name(file_name), content, media_type


def build_field_part(value: str) -> FormPart:
    """Return a plain form field, without file name and media type."""
    return None, value.encode(), None


def _sanitise_file_name(file_name: str) -> str:
    """Return a name that fits a multipart header: the last part of a path, printable, at most 200 characters."""
    base_name = file_name.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode("utf-8")
    name = "".join(character if character.isprintable() and character != '"' else "_" for character in base_name)
    return name[-200:] or "document"
