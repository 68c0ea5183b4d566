"""Parts of a multipart form: the document under a file name that is safe in a header, and plain fields."""

from __future__ import annotations

from invoices.clients.http_client import FormPart


def build_file_part(content: bytes, file_name: str, media_type: str) -> FormPart:
    """Return the document as a form part.

    Its file name is made safe for a multipart header: the last part of the path, printable, at most 200 characters.
    """
    base_name = file_name.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode("utf-8")
    safe_name = "".join(character if character.isprintable() and character != '"' else "_" for character in base_name)
    return safe_name[-200:] or "document", content, media_type


def build_field_part(value: str) -> FormPart:
    """Return a plain form field, without file name and media type."""
    return None, value.encode(), None
