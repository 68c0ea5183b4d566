"""Everything that can be set, from ``invoices.toml`` and the environment; nothing else reads either.

Environment names are ``INVOICES_`` + the field, nested with ``__``: ``INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL``. A
secret may also come from a file: ``INVOICES_SMARTBILLS_COM__API_KEY_FILE=/run/secrets/key``. The environment wins
over the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from invoices.errors import ConfigurationError

ENVIRONMENT_PREFIX = "INVOICES_"
FILE_SUFFIX = "_FILE"
NO_SETTINGS = ("INVOICES_CORPUS", "INVOICES_API_CONTRACTS")  # told to the tests, not to us
EXTRACTORS = ("einvoice", "invoicedataextraction_com", "smartbills_com", "billflowai")
PAID_EXTRACTORS = EXTRACTORS[1:]

UNFIT_FOR_HOME = "?%'="  # SQLAlchemy cuts its URL at ?, dlt formats % and quotes paths by ', DuckDB takes a=b as data


class Part(BaseModel):
    """A table of ``invoices.toml``: unknown names are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Folder(Part):
    """A folder that is looked through for documents."""

    name: str = Field("inbox", pattern=r"^[a-z0-9_-]{1,40}$", description="name of the source, part of every sighting")
    path: Path | None = Field(None, description="the folder; default: inbox below the home")
    settle_seconds: float = Field(
        2.0, ge=0, description="a file younger than this is looked at twice, this far apart, before it is taken"
    )


class PaidExtractor(Part):
    """What can be set for each extraction API."""

    api_key: SecretStr | None = Field(None, description="without any vendor's key, a run rehearses against the sandbox")
    connections: int = Field(4, ge=1, le=32, description="calls that may be under way at the same time")
    pages_per_run: int | None = Field(None, ge=0, description="the most pages that one run may ask for")
    pages_per_day: int | None = Field(None, ge=0, description="the most pages in a day, UTC, of all runs")
    pages_per_month: int | None = Field(None, ge=0, description="the most pages in a month, UTC, of all runs")
    page_price: Decimal | None = Field(
        None, ge=0, max_digits=18, decimal_places=6, description="what a page costs by your price list"
    )
    page_price_currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="the currency of the price")


class SmartBillsCom(PaidExtractor):
    """The extraction API at api.smartbills.com."""

    base_url: str = Field("https://api.smartbills.com", description="where the API answers")
    plan: Literal["free", "pro", "enterprise"] = Field("free", description="decides the rate budget")
    repeat_after_unknown: bool = Field(
        True, description="submit once more, flagged as a possible double charge, when the outcome cannot be looked up"
    )
    deadline_minutes: float = Field(30, gt=0, description="vendor minutes after which an unfinished job is given up")


class InvoiceDataExtractionCom(PaidExtractor):
    """The extraction API at api.invoicedataextraction.com."""

    base_url: str = Field("https://api.invoicedataextraction.com/v1", description="where the API answers")
    output_structure: Literal["per_invoice", "per_line_item"] = Field(
        "per_line_item", description="rows per invoice, or per line with the invoice's own fields repeated"
    )
    batch_documents: int = Field(250, ge=1, le=6_000, description="documents that are asked about together")
    deadline_minutes: float = Field(120, gt=0, description="vendor minutes after which an unfinished batch is given up")


class BillflowAi(PaidExtractor):
    """The extraction API of BillflowAI, whose host its customers are told."""

    base_url: str | None = Field(None, description="where the API answers; needed with a key")
    requests_per_minute: int = Field(60, gt=0, description="our own limit; the vendor names none")
    repeat_after_unknown: bool = Field(
        True, description="ask once more, flagged as a possible double charge, when an answer was lost"
    )
    document_base_url: str | None = Field(
        None, description="your web server that shows documents under signed addresses; set, they are sent by address"
    )
    document_url_secret: SecretStr | None = Field(None, description="signs those addresses")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.api_key is not None and self.base_url is None:
            raise ValueError("base_url is needed with the key: the vendor tells its customers the host")
        if (self.document_base_url is None) != (self.document_url_secret is None):
            raise ValueError("document_base_url and document_url_secret belong together")
        return self


class ReceiptCustomer(Part):
    """A customer of the receipts API: an id, an e-mail or a phone number."""

    customer_id: int | None = None
    email: str | None = None
    phone: str | None = None


class SmartBillsIo(Part):
    """The receipts API at api.smartbills.io."""

    base_url: str = Field("https://api.smartbills.io/v1", description="where the API answers, with its version")
    api_key: SecretStr | None = Field(None, description="without a key, a run rehearses against the sandbox")
    tenant_id: str | None = Field(None, description="sent as x-tenant-id")
    requests_per_minute: int = Field(
        60, gt=0, description="our own limit; the vendor's pages name three different ones, this is the lowest"
    )
    path: str = Field("receipts", description="route below the base URL, e.g. businesses/7/receipts")
    customer_email: str | None = Field(None, description="the customer of receipts whose buyer is not mapped")
    customers: dict[str, ReceiptCustomer] = Field(
        default_factory=dict, description="a buyer's tax id or name → customer id, e-mail or phone"
    )


class Company(Part):
    """Who we are."""

    tax_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="our tax ids, by comma in the environment: what we issued ourselves is revenue"
    )

    @field_validator("tax_ids", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Reading(Part):
    """Limits for opening untrusted documents."""

    workers: int = Field(2, ge=1, le=64, description="processes that open documents")
    seconds: float = Field(8, gt=0, description="a document that takes longer is set aside")
    megabytes: int = Field(50, gt=0, description="a larger document is set aside unread")


class Settings(BaseSettings):
    """The settings of one house. ``Settings.load`` is the way in; it turns every mistake into a ConfigurationError."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(Path("data"), description="where all state lives")
    ledger_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the ledger; default: SQLite below the home"
    )
    extractors: Annotated[tuple[str, ...], NoDecode] = Field(EXTRACTORS, description="order of preference")
    vendor_minute_seconds: float | None = Field(
        None, gt=0, le=60, description="length of a vendor's minute; 60, and shorter only in a rehearsal"
    )
    batch_size: int = Field(1000, ge=1, le=10_000, description="documents per batch, the unit of work between commits")
    company: Company = Company()
    inbox: Folder = Folder()
    reading: Reading = Reading()
    fall_back: Literal["failed", "unavailable"] = Field(
        "failed", description="when the next extractor is asked: a document failed, or also a vendor is unavailable"
    )
    invoicedataextraction_com: InvoiceDataExtractionCom = InvoiceDataExtractionCom()
    smartbills_com: SmartBillsCom = SmartBillsCom()
    billflowai: BillflowAi = BillflowAi()
    smartbills_io: SmartBillsIo = SmartBillsIo()

    @field_validator("extractors", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("extractors")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in EXTRACTORS]
        if unknown or not value:
            raise ValueError(f"unknown extractor {unknown!r}; choose from {', '.join(EXTRACTORS)}")
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        home = value.expanduser().absolute()
        odd = sorted({sign for sign in str(home) if sign in UNFIT_FOR_HOME or not sign.isprintable()})
        if odd:
            raise ValueError(f"{str(home)!r} has {odd!r} in it, which a database would not take as part of a name")
        return home

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``load`` read from the file as the weakest source, the environment above it."""
        if isinstance(env_settings, EnvSettingsSource):  # what names a secret's file is read by ``load``
            named = env_settings.env_vars.items()
            env_settings.env_vars = {name: value for name, value in named if not name.upper().endswith(FILE_SUFFIX)}
        return env_settings, init_settings

    @classmethod
    def load(cls, file: Path | None = None, **overrides: Any) -> Settings:
        """Return the settings of ``file`` (default ``invoices.toml`` here, if there is one) under the environment.

        Raises:
            ConfigurationError: a file that cannot be read, an unknown name or a value out of range; names each of them.
        """
        _refuse_unknown_names(os.environ)
        values = _read_toml(file)
        _overlay(values, _secrets_from_files(os.environ))
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None
        except SettingsError as error:  # its cause quotes the value
            raise ConfigurationError(f"the settings do not hold; nothing was touched:\n  {error}") from None
        return settings.model_copy(update=overrides) if overrides else settings

    @property
    def rehearses(self) -> bool:
        """Whether no vendor key is set: then a run rehearses against the sandbox."""
        parts = (self.smartbills_io, *(getattr(self, name) for name in PAID_EXTRACTORS))
        return all(part.api_key is None for part in parts)

    @property
    def paid_extractors(self) -> dict[str, PaidExtractor]:
        """The extraction APIs that have a key and are wanted, in the order of preference."""
        parts: dict[str, PaidExtractor] = {
            name: getattr(self, name) for name in self.extractors if name in PAID_EXTRACTORS
        }
        return {name: part for name, part in parts.items() if part.api_key is not None}

    @property
    def documents_directory(self) -> Path:
        """The document store."""
        return self.home / "documents"

    @property
    def warehouse_directory(self) -> Path:
        """The working and the published warehouse."""
        return self.home / "warehouse"

    @property
    def exports_directory(self) -> Path:
        """The export batches."""
        return self.home / "exports"

    @property
    def inbox_directory(self) -> Path:
        """The folder that is looked through."""
        return (self.inbox.path or self.home / "inbox").expanduser().resolve()

    @property
    def effective_ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL; it may hold a password, so it is never printed."""
        return self.ledger_url.get_secret_value() if self.ledger_url else f"sqlite:///{self.home / 'ledger.sqlite'}"


def _read_toml(file: Path | None) -> dict[str, Any]:
    path = file or Path("invoices.toml")
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings file {str(path)!r}: {error}") from error


def _refuse_unknown_names(environment: Mapping[str, str]) -> None:
    """Notice a misspelt first part of a name; the parts below it are checked with their values."""
    ours = (name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in NO_SETTINGS)
    known = set(Settings.model_fields)
    unknown = [name for name in ours if _field(name) not in known]
    if unknown:
        raise ConfigurationError(f"the environment sets what is no setting: {', '.join(sorted(unknown))}")


def _field(name: str) -> str:
    return name[len(ENVIRONMENT_PREFIX) :].removesuffix(FILE_SUFFIX).lower().split("__")[0]


def _secrets_from_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return nested values for each ``INVOICES_…_FILE`` variable, read from the file that it names."""
    values: dict[str, Any] = {}
    for name, path in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and name.endswith(FILE_SUFFIX):
            *parents, leaf = name[len(ENVIRONMENT_PREFIX) : -len(FILE_SUFFIX)].lower().split("__")
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read the secret that {name} names: {error}") from error
            nested: Any = text
            for part in reversed((*parents, leaf)):
                nested = {part: nested}
            _overlay(values, nested)
    return values


def _overlay(values: dict[str, Any], above: dict[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _overlay(values[name], value)
        else:
            values[name] = value


def _explain(error: ValidationError) -> str:
    lines = [f"  {'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
    return "the settings do not hold; nothing was touched:\n" + "\n".join(lines)
