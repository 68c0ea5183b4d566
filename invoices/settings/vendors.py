"""Settings of the remote APIs."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from invoices.settings.section import ApiKey, OptionalSecret, OptionalText, SettingsSection

EXTRACTORS = ("einvoice", "invoicedataextraction_com", "smartbills_com", "billflowai")
PAID_EXTRACTORS = EXTRACTORS[1:]


class PaidExtractorSettings(SettingsSection):
    """The settings that all extraction APIs share."""

    api_key: ApiKey = Field(None, description="without a key of any vendor, a run is a rehearsal against the sandbox")
    connections: int = Field(4, ge=1, le=32, description="the most calls at the same time")
    pages_per_run: int | None = Field(None, ge=0, description="the most pages that one run submits")
    pages_per_day: int | None = Field(None, ge=0, description="the most pages in a day, UTC, of all runs")
    pages_per_month: int | None = Field(None, ge=0, description="the most pages in a month, UTC, of all runs")
    page_price: Decimal | None = Field(
        None, ge=0, max_digits=18, decimal_places=6, description="the price of a page in your price list"
    )
    page_price_currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="the currency of the price")


class SmartBillsComSettings(PaidExtractorSettings):
    """The extraction API at api.smartbills.com."""

    base_url: str = Field("https://api.smartbills.com", description="the base URL of the API")
    plan: Literal["free", "pro", "enterprise"] = Field("free", description="determines the rate limits")
    repeat_after_unknown: bool = Field(
        True, description="submit again, flagged as a possible double charge, if the outcome cannot be looked up"
    )
    deadline_minutes: float = Field(30, gt=0, description="vendor minutes after which an unfinished job is abandoned")


class InvoiceDataExtractionComSettings(PaidExtractorSettings):
    """The extraction API at api.invoicedataextraction.com."""

    base_url: str = Field("https://api.invoicedataextraction.com/v1", description="the base URL of the API")
    output_structure: Literal["per_invoice", "per_line_item"] = Field(
        "per_line_item", description="rows per invoice, or per line with the invoice's own fields repeated"
    )
    batch_documents: int = Field(250, ge=1, le=6_000, description="documents in one batch")
    deadline_minutes: float = Field(
        120, gt=0, description="vendor minutes after which an unfinished batch is abandoned"
    )


class BillflowAiSettings(PaidExtractorSettings):
    """The extraction API of BillflowAI; the vendor gives each customer the host."""

    base_url: OptionalText = Field(None, description="the base URL of the API; required with a key")
    requests_per_minute: int = Field(60, gt=0, description="our own limit; the vendor states none")
    repeat_after_unknown: bool = Field(
        True, description="submit again, flagged as a possible double charge, if an answer was lost"
    )
    document_base_url: OptionalText = Field(
        None, description="your web server that serves documents at signed URLs; if set, documents are sent by URL"
    )
    document_url_secret: OptionalSecret = Field(None, description="the key that signs these URLs")

    @model_validator(mode="after")
    def _check_base_url_and_document_url(self) -> Self:
        if self.api_key is not None and self.base_url is None:
            raise ValueError("base_url is required with api_key: the vendor gives each customer the host")
        if (self.document_base_url is None) != (self.document_url_secret is None):
            raise ValueError("set both document_base_url and document_url_secret, or neither")
        return self


class ReceiptCustomer(SettingsSection):
    """A customer of the receipts API: an id, an e-mail or a phone number."""

    customer_id: int | None = None
    email: OptionalText = None
    phone: OptionalText = None


class SmartBillsIoSettings(SettingsSection):
    """The receipts API at api.smartbills.io."""

    base_url: str = Field("https://api.smartbills.io/v1", description="the base URL of the API, with its version")
    api_key: ApiKey = Field(None, description="without a key of any vendor, a run is a rehearsal against the sandbox")
    tenant_id: OptionalText = Field(None, description="sent as x-tenant-id")
    requests_per_minute: int = Field(
        60, gt=0, description="our own limit; the vendor's pages state three different ones, this is the lowest"
    )
    repeat_after_minutes: float = Field(
        15, ge=0, le=1440,
        description="a receipt that may exist is created again only if the list has not shown it for so long",
    )  # fmt: skip
    path: str = Field("receipts", description="route below the base URL, e.g. businesses/7/receipts")
    customer_email: OptionalText = Field(None, description="the customer of receipts whose buyer is not mapped")
    customers: dict[str, ReceiptCustomer] = Field(
        default_factory=dict, description="a buyer's tax id or name → customer id, e-mail or phone"
    )
