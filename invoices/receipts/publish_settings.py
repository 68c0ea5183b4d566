"""What the settings say about publishing receipts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from invoices.receipts.mapping import Customer
from invoices.settings import Settings


@dataclass(frozen=True, slots=True)
class PublishSettings:
    """The customers of receipts, and how to behave towards the vendor.

    ``sha256`` identifies the settings on which it may depend whether the vendor accepts a receipt. ``repeat_after`` is
    the minimum time between two looks that have not found a receipt, before it is created again.
    """

    customers: Mapping[str, Customer]
    default_customer: Customer | None
    repeat_after: dt.timedelta
    sha256: str
    is_rehearsal: bool = False


def build_publish_settings(settings: Settings, vendor_settings: Settings) -> PublishSettings:
    """Return them from the user's settings, and from those for calls, which in a rehearsal are the sandbox's."""
    vendor = vendor_settings.smartbills_io
    customers = {
        buyer: Customer(customer.customer_id, customer.email, customer.phone)
        for buyer, customer in vendor.customers.items()
    }
    seconds_per_minute = vendor_settings.vendor_minute_seconds or 60.0
    return PublishSettings(
        customers,
        Customer(None, vendor.customer_email, None) if vendor.customer_email else None,
        dt.timedelta(seconds=vendor.repeat_after_minutes * seconds_per_minute),
        hash_receipt_settings(settings),
        settings.is_rehearsal,
    )


def hash_receipt_settings(settings: Settings) -> str:
    """Return the SHA-256 of the user's settings below ``[smartbills_io]``, without the key, which is secret."""
    values = settings.smartbills_io.model_dump(mode="json", exclude={"api_key", "repeat_after_minutes"})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
