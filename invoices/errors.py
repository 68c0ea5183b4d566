"""The errors of the house, named for what the caller does next.

InvoicesError
├── ConfigurationError     fix the settings; nothing was touched
│   └── AccountError       fix the key, the rights or the credit: no call of this account will do better
├── TransientError         ask again later (carries ``retry_after``)
├── UnknownOutcome         it may have happened: look it up before asking again
├── DocumentError          set this one document aside, go on with the rest (carries ``reason_code``)
└── ContractError          the other side changed its shape: stop this source, tell someone
"""

from __future__ import annotations


class InvoicesError(Exception):
    """Any error that this project raises on purpose; its text is written for the person who reads it."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(f"{message} (request {request_id!r})" if request_id else message)
        self.request_id = request_id


class ConfigurationError(InvoicesError):
    """Fix the settings: nothing was touched."""


class AccountError(ConfigurationError):
    """Fix the key, the rights or the credit (401, 402, 403): no call of this account will do better until then."""


class TransientError(InvoicesError):
    """Ask again later; ``retry_after`` is the other side's own wish in seconds, where it told one."""

    def __init__(self, message: str, *, retry_after: float | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after


class UnknownOutcome(InvoicesError):
    """It may have happened: look it up before asking again."""


class DocumentError(InvoicesError):
    """Set this one document aside and go on with the rest; ``reason_code`` says why in one word."""

    def __init__(self, message: str, *, reason_code: str, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.reason_code = reason_code


class ContractError(InvoicesError):
    """The other side changed its shape: stop this source and tell someone."""
