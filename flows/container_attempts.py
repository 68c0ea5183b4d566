"""Containers whose process was stopped or crashed are opened once more in a later run, before they are quarantined."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from invoices.app import App
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.outcomes import RETRIED_REASON_CODES
from invoices.documents.store_batch import StoreBatch
from invoices.ledger.stage_attempts import list_stage_attempts, record_stage_attempt, remove_stage_attempts
from sources.folder.folder_backend import FileUnreadableError


class RetryingContainerOpener:
    """Opens containers as the application's pool does, and records the first failure of each by its hash."""

    def __init__(self, app: App) -> None:
        self._app = app

    def detect_file_type(self, head: bytes, /) -> str:
        """Return the media type of a file by its first bytes."""
        return self._app.container_opener_pool.detect_file_type(head)

    def find_from_lines(self, block: bytes, *, is_file_start: bool) -> Sequence[tuple[int, int]]:
        """Return where mails end and begin in a block of an mbox."""
        return self._app.container_opener_pool.find_from_lines(block, is_file_start=is_file_start)

    def remove_status_fields(self, head: bytes, /) -> bytes:
        """Return the beginning of a mail in an mbox without the marks of mail programs."""
        return self._app.container_opener_pool.remove_status_fields(head)

    def unescape_from_lines(self, content: bytes, /) -> bytes:
        """Return a mail as it was before it was put into an mbox."""
        return self._app.container_opener_pool.unescape_from_lines(content)

    def open_container(
        self, container: bytes | Path, store_batch: StoreBatch, file_name: str | None = None, /
    ) -> OpenedContainer:
        """Return what is in a container; the parts are put into ``store_batch``.

        Raises:
            FileUnreadableError: its process was stopped or crashed for the first time, so a later run tries once more.
        """
        opened_container = self._app.container_opener_pool.open_container(container, store_batch, file_name)
        content = container if isinstance(container, bytes) else container.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        with self._app.ledger.open_snapshot() as connection:
            was_attempted = bool(list_stage_attempts(connection, "collect", [sha256]))
        is_failed_attempt = opened_container.reason_code in RETRIED_REASON_CODES
        if not was_attempted and not is_failed_attempt:
            return opened_container
        with self._app.ledger.begin_transaction() as tx:
            if was_attempted:
                remove_stage_attempts(tx, "collect", [sha256])
            else:
                record_stage_attempt(tx, "collect", [sha256])
        if not was_attempted:
            raise FileUnreadableError(f"its content cannot be opened: {opened_container.reason}")
        return opened_container
