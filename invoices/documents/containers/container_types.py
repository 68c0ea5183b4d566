"""The kinds of containers there are, as sniffing calls them."""

from __future__ import annotations

MAIL_TYPE, ARCHIVE_TYPE, SIGNED_FILE_TYPE, TNEF_TYPE = (
    "message/rfc822",
    "application/zip",
    "application/pkcs7-mime",
    "application/ms-tnef",
)


def is_container_type(media_type: str) -> bool:
    """Return whether this is something that is opened for what is in it."""
    return media_type in (MAIL_TYPE, ARCHIVE_TYPE, SIGNED_FILE_TYPE, TNEF_TYPE)
