"""The client of the receipts API, built from the settings; nothing is sent."""

from __future__ import annotations

from invoices.clients.http_client import make_session
from invoices.clients.smartbills_io import SmartBillsIoClient
from invoices.settings import Settings


def build_smartbills_io_client(settings: Settings) -> SmartBillsIoClient | None:
    """Return the client, or None without a key; raises ConfigurationError for an unusable URL, key, tenant or path."""
    vendor = settings.smartbills_io
    if vendor.api_key is None:
        return None
    return SmartBillsIoClient(
        vendor.base_url, vendor.api_key.get_secret_value(), vendor.tenant_id, make_session(), vendor.path
    )
