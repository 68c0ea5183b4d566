"""Describes errors that end a stage, a source or an item: in one sentence, with the traceback in a log of the home."""

from __future__ import annotations

import datetime as dt
import os
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from sqlalchemy.exc import OperationalError

from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import InvoicesError
from invoices.private_files import make_private_directory, open_privately
from invoices.settings import Settings

LOG_FILE = Path("logs", "errors.log")  # below the home directory
MAX_LOG_BYTES = 4 * 1024 * 1024  # then the log is renamed to ``errors.log.1``, which replaces the one before
MAX_LINE_CHARS = 2_000  # characters; a message may quote a whole document
HIDDEN = "(hidden)"


def find_known_cause(error: BaseException | None) -> str | None:
    """Return the cause that a person can act on: an error of ours, of the system or of the ledger; None without one."""
    while error is not None and not isinstance(error, (InvoicesError, OSError)):
        if isinstance(error, OperationalError):  # also a full disk, which SQLite does not report as an OSError
            return f"the ledger: {error.orig}"
        error = error.__cause__ or error.__context__
    return None if error is None else str(error)


def describe_error(settings: Settings, subject: str, error: Exception) -> str:
    """Return the cause of an error as a sentence; of an unexpected one the type, with the traceback in the log.

    ``subject`` says in the log what failed, for example ``stage 'load'``.
    """
    cause = find_known_cause(error)
    if cause is not None:
        return cause
    error_name = type(error).__name__
    try:
        log_path = _append_traceback(settings, subject, error)
    except OSError as log_error:
        return f"unexpected error {error_name}; its traceback cannot be written: {log_error}"
    return f"unexpected error {error_name}; please report it with the traceback in {str(log_path)!r}"


def _append_traceback(settings: Settings, subject: str, error: Exception) -> Path:
    """Append the time, the subject and the traceback to the log, without the secrets of the settings; return its path.

    Raises OSError.
    """
    log_path = settings.home / LOG_FILE
    make_private_directory(log_path.parent)
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        os.replace(log_path, log_path.with_name(f"{log_path.name}.1"))
    text = "".join(traceback.format_exception(error))
    secrets = {secret.get_secret_value() for secret in _iter_secrets([settings])}
    for secret in sorted(secrets - {""}, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(secret, HIDDEN)
    lines = (sanitise_for_display(line, MAX_LINE_CHARS) for line in text.splitlines())
    timestamp = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    entry = "\n".join([f"{timestamp} {sanitise_for_display(subject, MAX_LINE_CHARS)}", *lines, "", ""])
    with open(log_path, "a", encoding="utf-8", opener=open_privately) as log_file:
        log_file.write(entry)
    return log_path


def _iter_secrets(values: Iterable[object]) -> Iterator[SecretStr]:
    for value in values:
        if isinstance(value, SecretStr):
            yield value
        elif isinstance(value, BaseModel):
            yield from _iter_secrets(getattr(value, name) for name in type(value).model_fields)
        elif isinstance(value, list | tuple):
            yield from _iter_secrets(value)
        elif isinstance(value, dict):
            yield from _iter_secrets(value.values())
