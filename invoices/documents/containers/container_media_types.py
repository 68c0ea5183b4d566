"""The media types of containers."""

from __future__ import annotations

MAIL_TYPE = "message/rfc822"
ARCHIVE_TYPE = "application/zip"
SIGNED_FILE_TYPE = "application/pkcs7-mime"
TNEF_TYPE = "application/ms-tnef"


def is_container_type(media_type: str) -> bool:
    """Return whether files of this type are opened for the documents in them."""
    return media_type in (MAIL_TYPE, ARCHIVE_TYPE, SIGNED_FILE_TYPE, TNEF_TYPE)
