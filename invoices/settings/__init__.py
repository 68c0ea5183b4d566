"""All settings; no other package reads a settings file or the environment."""

from invoices.settings.loading import ENVIRONMENT_PREFIX, TEST_ENVIRONMENT_NAMES
from invoices.settings.rules import SchematronSettings
from invoices.settings.settings import Settings, SourceSettings
from invoices.settings.sources import FolderSettings, InboxSettings, MailboxSettings, MailRule, OAuthSettings
from invoices.settings.vendors import (
    EXTRACTORS,
    PAID_EXTRACTORS,
    BillflowAiSettings,
    InvoiceDataExtractionComSettings,
    PaidExtractorSettings,
    SmartBillsComSettings,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "EXTRACTORS",
    "PAID_EXTRACTORS",
    "TEST_ENVIRONMENT_NAMES",
    "BillflowAiSettings",
    "FolderSettings",
    "InboxSettings",
    "InvoiceDataExtractionComSettings",
    "MailRule",
    "MailboxSettings",
    "OAuthSettings",
    "PaidExtractorSettings",
    "SchematronSettings",
    "Settings",
    "SmartBillsComSettings",
    "SourceSettings",
]  # fmt: skip
