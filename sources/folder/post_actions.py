"""What happens to files after their documents are recorded: they are moved to a directory below the folder."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence

from invoices.errors import InvoicesError
from invoices.settings.sources import FolderSettings
from sources.folder.backend_factory import open_folder_backend
from sources.folder.folder_backend import (
    LOOKUP_BATCH_SIZE,
    FileChangedError,
    FileUnreadableError,
    FingerprintLookup,
    ListedFile,
    parse_move_target,
)

_ERRNOS_FOR_ALL_FILES = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}


def move_recorded_files(
    folder_settings: FolderSettings, lookup_fingerprints: FingerprintLookup, files: Sequence[ListedFile]
) -> list[str]:
    """Move the files that are recorded in the ledger, and return a sentence for each that cannot be moved.

    Call it after the last transaction, with ``FolderScanState.movable_files``. A file stays if its fingerprint is not
    recorded, or if it has changed since it was listed. Nothing is overwritten: if a name is taken, the file gets a
    suffix from its content. Files that a killed run did not move are moved by the next run.
    """
    target = parse_move_target(folder_settings)
    if not target or not files:
        return []
    problems: list[str] = []
    with contextlib.closing(open_folder_backend(folder_settings)) as backend:
        for file in _select_recorded_files(lookup_fingerprints, files):
            try:
                backend.move_file(file, [*target, *backend.get_parent_directories(file)])
            except (FileChangedError, FileNotFoundError):  # somebody else changed or moved it
                continue
            except (OSError, FileUnreadableError, InvoicesError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                problems.append(f"{file.location!r} cannot be moved, and is not collected again: {reason}")
                if isinstance(error, InvoicesError) or getattr(error, "errno", None) in _ERRNOS_FOR_ALL_FILES:
                    return [f"{problems[-1]}; no other file was tried"]
    return problems


def _select_recorded_files(lookup_fingerprints: FingerprintLookup, files: Sequence[ListedFile]) -> Iterator[ListedFile]:
    for start in range(0, len(files), LOOKUP_BATCH_SIZE):
        batch = files[start : start + LOOKUP_BATCH_SIZE]
        fingerprints_by_location = lookup_fingerprints([file.location for file in batch])
        yield from (file for file in batch if file.fingerprint in fingerprints_by_location.get(file.location, ()))
