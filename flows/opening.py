"""Opening the house for a run: with the vendors of the settings, or with the sandbox when no vendor key is set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from invoices.house import House
from invoices.settings import PAID_EXTRACTORS, PaidExtractor, Settings

REHEARSAL_MINUTE_SECONDS = 1.0
REHEARSAL_REQUESTS_PER_MINUTE = 1_000
REHEARSAL_CUSTOMER = "rehearsal@example.org"


def open_house(settings: Settings) -> House:
    """Return the house of these settings, opened.

    Raises:
        ConfigurationError: see ``House``.
    """
    return House(settings, vendors=lambda closing: rehearse(settings, closing) if settings.rehearses else settings)


def rehearse(settings: Settings, closing: ExitStack) -> Settings:
    """Return the settings with the sandbox in the vendors' places; it runs until ``closing`` does."""
    from sandbox.serving import start

    minute = settings.vendor_minute_seconds or REHEARSAL_MINUTE_SECONDS
    served = closing.enter_context(start(settings.home / "sandbox", minute_seconds=minute, plan="pro"))
    receipts = served.smartbills_io
    smartbills_io = settings.smartbills_io.model_copy(
        update={
            "base_url": receipts["base_url"],
            "api_key": SecretStr(receipts["api_key"]),
            "tenant_id": receipts["tenant_id"],
            "requests_per_minute": REHEARSAL_REQUESTS_PER_MINUTE,
            "customer_email": settings.smartbills_io.customer_email or REHEARSAL_CUSTOMER,
        }
    )
    extraction = {name: _at(getattr(served, name), getattr(settings, name)) for name in PAID_EXTRACTORS}
    extraction["smartbills_com"] = extraction["smartbills_com"].model_copy(update={"plan": "pro"})
    return settings.model_copy(update={**extraction, "smartbills_io": smartbills_io, "vendor_minute_seconds": minute})


def _at(served: Mapping[str, str], part: PaidExtractor) -> PaidExtractor:
    """Return a vendor's settings with the sandbox in its place."""
    return part.model_copy(update={"base_url": served["base_url"], "api_key": SecretStr(served["api_key"])})


def sample_inbox() -> Path:
    """Return the folder of the sample documents that are shipped."""
    from sandbox import samples_directory

    return Path(samples_directory()) / "inbox"
