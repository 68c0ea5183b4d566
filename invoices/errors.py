"""The errors of this project, named for what the caller does next.

InvoicesError
├── ConfigurationError     fix the settings; nothing was touched
│   └── AccountError       fix the key, the rights or the credit; until then, every call of the account fails
├── TransientError         try again later (carries ``retry_after``)
├── UnknownOutcome         it may have happened: look it up before trying again
├── DocumentError          take this document out and continue with the rest (carries ``reason_code``)
└── ContractError          the other side broke its contract: stop this source and notify someone
    └── UnreadableResponse a read succeeded, but its response cannot be used: read again, which costs nothing
"""

from __future__ import annotations

# What a bug or an unforeseen value raises; errors of a vendor, the ledger or the disk are none of these.
PROGRAM_ERRORS = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError
)  # fmt: skip


class InvoicesError(Exception):
    """The base class of all errors that this project raises; the message is written for people."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(f"{message} (request {request_id!r})" if request_id else message)
        self.request_id = request_id


class ConfigurationError(InvoicesError):
    """Fix the settings: nothing was touched."""


class AccountError(ConfigurationError):
    """Fix the key, the rights or the credit (401, 402, 403); until then, every call of the account fails."""


class TransientError(InvoicesError):
    """Try again later; ``retry_after`` is the wait in seconds that the other side requested, or None."""

    def __init__(self, message: str, *, retry_after: float | None = None, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after


class UnknownOutcome(InvoicesError):
    """It may have happened: look it up before trying again."""


class DocumentError(InvoicesError):
    """Take this document out and continue with the rest; ``reason_code`` is the reason in one word."""

    def __init__(self, message: str, *, reason_code: str, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.reason_code = reason_code


class ContractError(InvoicesError):
    """The other side broke its contract: stop this source and notify someone."""


class UnreadableResponse(ContractError):
    """A read succeeded, but its response cannot be used: read again, which costs nothing, before you believe it."""
