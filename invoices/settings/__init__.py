"""Everything that can be set; nothing else reads a settings file or the environment."""

from invoices.settings.all import Settings, Source
from invoices.settings.intake import Folder, Inbox, Mailbox, MailRule, OAuth
from invoices.settings.loading import ENVIRONMENT_PREFIX, NO_SETTINGS
from invoices.settings.vendors import (
    EXTRACTORS,
    PAID_EXTRACTORS,
    BillflowAi,
    InvoiceDataExtractionCom,
    PaidExtractor,
    SmartBillsCom,
)

__all__ = [
    "ENVIRONMENT_PREFIX", "EXTRACTORS", "NO_SETTINGS", "PAID_EXTRACTORS", "BillflowAi", "Folder", "Inbox",
    "InvoiceDataExtractionCom", "MailRule", "Mailbox", "OAuth", "PaidExtractor", "Settings", "SmartBillsCom", "Source",
]  # fmt: skip
