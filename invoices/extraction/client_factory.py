"""The clients of the extraction APIs, built from the settings; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from invoices.clients.billflowai import BillflowAiClient
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import InvoiceDataExtractionClient
from invoices.clients.smartbills_com import SmartBillsComClient
from invoices.errors import ConfigurationError
from invoices.extraction.billflowai import UrlSigner, build_url_signer
from invoices.settings import PaidExtractorSettings, Settings


def build_invoicedataextraction_com_client(settings: Settings) -> InvoiceDataExtractionClient:
    """Return the client; raises ConfigurationError for an unusable URL or key."""
    vendor = settings.invoicedataextraction_com
    return InvoiceDataExtractionClient(vendor.base_url, _get_api_key(vendor), make_session())


def build_smartbills_com_client(settings: Settings) -> SmartBillsComClient:
    """Return the client; raises ConfigurationError for an unusable URL or key."""
    vendor = settings.smartbills_com
    return SmartBillsComClient(vendor.base_url, _get_api_key(vendor), make_session())


def build_billflowai_client(settings: Settings) -> BillflowAiClient:
    """Return the client; raises ConfigurationError for an unusable URL or key."""
    vendor = settings.billflowai
    return BillflowAiClient(vendor.base_url or "", _get_api_key(vendor), make_session())


def find_billflowai_url_signer(settings: Settings) -> UrlSigner | None:
    """Return what signs the URLs of documents, or None without the settings for it; raises ConfigurationError."""
    vendor = settings.billflowai
    if vendor.document_base_url is None or vendor.document_url_secret is None:
        return None
    return build_url_signer(vendor.document_base_url, vendor.document_url_secret.get_secret_value())


CLIENT_BUILDERS: Mapping[str, Callable[[Settings], object]] = {
    "invoicedataextraction_com": build_invoicedataextraction_com_client,
    "smartbills_com": build_smartbills_com_client,
    "billflowai": build_billflowai_client,
}


def iter_extractor_settings_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each extraction API whose settings cannot be used, with what is wrong with them."""
    for name, build_client in CLIENT_BUILDERS.items():
        try:
            if getattr(settings, name).api_key is not None:
                build_client(settings)
            if name == "billflowai":
                find_billflowai_url_signer(settings)
        except ConfigurationError as error:
            yield name, str(error)


def _get_api_key(vendor: PaidExtractorSettings) -> str:
    return vendor.api_key.get_secret_value() if vendor.api_key is not None else ""
