"""Open the application for a run: with the vendors of the settings, or with the sandbox when no vendor key is set."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from invoices.app import App
from invoices.errors import TransientError
from invoices.settings import PAID_EXTRACTORS, Settings

REHEARSAL_MINUTE_SECONDS = 1.0
REHEARSAL_REQUESTS_PER_MINUTE = 1_000
REHEARSAL_CUSTOMER = "rehearsal@example.org"


def open_app(settings: Settings) -> App:
    """Return the opened application of these settings.

    Raises:
        ConfigurationError: see ``App``.
    """
    return App(
        settings,
        prepare_vendor_settings=lambda exit_stack: (
            start_sandbox_for_rehearsal(settings, exit_stack) if settings.is_rehearsal else settings
        ),
    )


def start_sandbox_for_rehearsal(settings: Settings, exit_stack: ExitStack) -> Settings:
    """Start the sandbox, which runs until ``exit_stack`` closes; return the settings with its addresses and keys.

    Raises:
        TransientError: it did not start.
    """
    from sandbox.process import SandboxError, start_sandbox

    minute_seconds = settings.vendor_minute_seconds or REHEARSAL_MINUTE_SECONDS
    try:
        sandbox = exit_stack.enter_context(
            start_sandbox(settings.home / "sandbox", minute_seconds=minute_seconds, plan="pro")
        )
    except SandboxError as error:
        raise TransientError(f"the rehearsal cannot call its vendors: {error}; then run the command again") from error
    receipts_api = sandbox.smartbills_io
    smartbills_io = settings.smartbills_io.model_copy(
        update={
            "base_url": receipts_api["base_url"],
            "api_key": SecretStr(receipts_api["api_key"]),
            "tenant_id": receipts_api["tenant_id"],
            "requests_per_minute": REHEARSAL_REQUESTS_PER_MINUTE,
            "customer_email": settings.smartbills_io.customer_email or REHEARSAL_CUSTOMER,
        }
    )
    extractor_settings = {}
    for name in PAID_EXTRACTORS:
        endpoint = getattr(sandbox, name)
        extractor_settings[name] = getattr(settings, name).model_copy(
            update={"base_url": endpoint["base_url"], "api_key": SecretStr(endpoint["api_key"])}
        )
    extractor_settings["smartbills_com"] = extractor_settings["smartbills_com"].model_copy(update={"plan": "pro"})
    return settings.model_copy(
        update={**extractor_settings, "smartbills_io": smartbills_io, "vendor_minute_seconds": minute_seconds}
    )


def get_sample_inbox() -> Path:
    """Return the folder of the sample documents that come with the program."""
    from sandbox import get_samples_directory

    return Path(get_samples_directory()) / "inbox"
