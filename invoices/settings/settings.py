"""The settings, from ``invoices.toml`` and the environment; nothing else reads either of them.

A variable is called ``INVOICES_`` + the field, nested with ``__``: ``INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL``. A secret
may also come from a file: ``INVOICES_SMARTBILLS_COM__API_KEY_FILE=/run/secrets/key``. The environment overrides
``invoices.toml``.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from invoices.errors import ConfigurationError
from invoices.settings.loading import (
    ENVIRONMENT_PREFIX,
    FILE_SUFFIX,
    format_settings_errors,
    merge_overrides,
    read_secret_files,
    read_settings_file,
    reject_unknown_environment_names,
)
from invoices.settings.rules import RulesSettings
from invoices.settings.section import OptionalSecret, SettingsSection
from invoices.settings.sources import FolderSettings, InboxSettings, IntakeSettings, MailboxSettings
from invoices.settings.vendors import (
    EXTRACTORS,
    PAID_EXTRACTORS,
    BillflowAiSettings,
    InvoiceDataExtractionComSettings,
    PaidExtractorSettings,
    SmartBillsComSettings,
    SmartBillsIoSettings,
)

# SQLAlchemy ends the path in a URL at ?, dlt formats % and quotes paths with ', DuckDB parses a=b in a path
FORBIDDEN_HOME_CHARACTERS = "?%'="

SourceSettings = MailboxSettings | FolderSettings


class CompanySettings(SettingsSection):
    """The company that receives and issues the invoices."""

    tax_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="our tax ids, comma-separated in the environment: invoices that we issued are revenue"
    )

    @field_validator("tax_ids", mode="before")
    @classmethod
    def _split_tax_ids(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ReadingSettings(SettingsSection):
    """Limits for opening untrusted documents."""

    workers: int = Field(2, ge=1, le=64, description="processes that open documents")
    seconds: float = Field(8, gt=0, description="a document that takes longer is not read")
    megabytes: int = Field(50, gt=0, description="a larger document is not read")
    scanner_command: tuple[str, ...] = Field(
        (), description="a malware scanner that runs first: program and arguments; the path is appended"
    )


class Settings(BaseSettings):
    """The settings of one application; ``Settings.load`` reports every mistake as a ConfigurationError."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(Path("data"), description="the directory of all state")
    ledger_url: OptionalSecret = Field(None, description="SQLAlchemy URL of the ledger; default: SQLite below the home")
    extractors: Annotated[tuple[str, ...], NoDecode] = Field(EXTRACTORS, description="order of preference")
    vendor_minute_seconds: float | None = Field(
        None, gt=0, le=60, description="length of a vendor's minute in seconds; 60, or less in a rehearsal"
    )
    stage_lease_seconds: float = Field(
        120,
        ge=1,
        le=3600,
        description="after how long another home takes over a stage whose worker is gone or suspended",
    )
    batch_size: int = Field(1000, ge=1, le=10_000, description="documents per batch, the unit of work between commits")
    company: CompanySettings = CompanySettings()
    inbox: InboxSettings = InboxSettings()
    mailboxes: tuple[MailboxSettings, ...] = Field((), description="accounts whose mails are collected")
    folders: tuple[FolderSettings, ...] = Field((), description="folders that are scanned")
    intake: IntakeSettings = IntakeSettings()
    reading: ReadingSettings = ReadingSettings()
    rules: RulesSettings = RulesSettings()
    fall_back: Literal["failed", "unavailable"] = Field(
        "failed", description="when the next extractor is used: a document failed, or also if a vendor is unavailable"
    )
    invoicedataextraction_com: InvoiceDataExtractionComSettings = InvoiceDataExtractionComSettings()
    smartbills_com: SmartBillsComSettings = SmartBillsComSettings()
    billflowai: BillflowAiSettings = BillflowAiSettings()
    smartbills_io: SmartBillsIoSettings = SmartBillsIoSettings()

    @field_validator("extractors", mode="before")
    @classmethod
    def _split_extractor_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("extractors")
    @classmethod
    def _check_extractor_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = ", ".join(repr(name) for name in value if name not in EXTRACTORS)
        if unknown or not value:
            problem = f"there is no extractor {unknown}" if unknown else "no extractor is named"
            raise ValueError(f"{problem}; choose from {', '.join(EXTRACTORS)}")
        return value

    @model_validator(mode="after")
    def _check_unique_source_names(self) -> Self:
        names = Counter(
            [self.inbox.name, *(source.name for source in self.mailboxes), *(source.name for source in self.folders)]
        )
        duplicates = [name for name, count in names.items() if count > 1]
        if duplicates:
            raise ValueError(
                f"several sources have the name {', '.join(map(repr, duplicates))}; give each its own name"
            )
        return self

    @field_validator("home")
    @classmethod
    def _normalise_and_check_home(cls, value: Path) -> Path:
        home = value.expanduser().absolute()
        forbidden = sorted(
            {
                character
                for character in str(home)
                if character in FORBIDDEN_HOME_CHARACTERS or not character.isprintable()
            }
        )
        if forbidden:
            characters = ", ".join(map(repr, forbidden))
            raise ValueError(f"{str(home)!r} contains {characters}, which a database does not accept in a path")
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
        """Rank the environment above the values that ``load`` has read from the files; an empty variable is not set."""
        if isinstance(env_settings, EnvSettingsSource):  # ``load`` has read the variables that name secret files
            variables = env_settings.env_vars.items()
            env_settings.env_vars = {
                name: value
                for name, value in variables
                if not name.upper().endswith(FILE_SUFFIX) and (value or "").strip()
            }
        return env_settings, init_settings

    @classmethod
    def load(cls, file: Path | None = None, **overrides: Any) -> Settings:
        """Return the settings of ``file``, overridden by the environment, and that by ``overrides``.

        Without ``file``, ``invoices.toml`` in the current directory is read if it exists.

        Raises:
            ConfigurationError: a file cannot be read, a name is unknown or a value is invalid; names every mistake.
        """
        reject_unknown_environment_names(os.environ, cls.model_fields)
        values = read_settings_file(file)
        merge_overrides(values, read_secret_files(os.environ))
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise ConfigurationError(format_settings_errors(error, values)) from None
        except SettingsError as error:  # its cause quotes the value
            raise ConfigurationError(f"the settings are invalid; nothing was touched:\n  {error}") from None
        return settings.model_copy(update=overrides) if overrides else settings

    @property
    def is_rehearsal(self) -> bool:
        """Whether no vendor key is set; a run is then a rehearsal against the sandbox."""
        vendors = (self.smartbills_io, *(getattr(self, name) for name in PAID_EXTRACTORS))
        return all(vendor.api_key is None for vendor in vendors)

    @property
    def paid_extractors(self) -> dict[str, PaidExtractorSettings]:
        """The settings of the extraction APIs that have a key and are in ``extractors``, in order of preference."""
        extractors: dict[str, PaidExtractorSettings] = {
            name: getattr(self, name) for name in self.extractors if name in PAID_EXTRACTORS
        }
        return {name: extractor for name, extractor in extractors.items() if extractor.api_key is not None}

    @property
    def documents_directory(self) -> Path:
        """The directory of the document store."""
        return self.home / "documents"

    @property
    def warehouse_directory(self) -> Path:
        """The directory of the working and the published warehouse."""
        return self.home / "warehouse"

    @property
    def exports_directory(self) -> Path:
        """The directory of the export batches."""
        return self.home / "exports"

    @property
    def inbox_directory(self) -> Path:
        """The folder that is scanned for documents."""
        return (self.inbox.path or self.home / "inbox").expanduser().resolve()

    @property
    def sources(self) -> tuple[SourceSettings, ...]:
        """All sources in order; the inbox is one if its path is set or if there is no other source."""
        if (self.mailboxes or self.folders) and self.inbox.path is None:
            return (*self.mailboxes, *self.folders)
        inbox = FolderSettings(
            name=self.inbox.name, url=str(self.inbox_directory), settle_seconds=self.inbox.settle_seconds
        )
        return (*self.mailboxes, *self.folders, inbox)

    def with_only_source(self, source_name: str) -> Self:
        """Return the settings with only this source.

        Raises:
            ConfigurationError: there is no source of this name.
        """
        if source_name not in [source.name for source in self.sources]:
            names = ", ".join(repr(source.name) for source in self.sources)
            raise ConfigurationError(f"there is no source {source_name!r}; choose from {names}")
        inbox = self.inbox if source_name == self.inbox.name else self.inbox.model_copy(update={"path": None})
        return self.model_copy(
            update={
                "mailboxes": tuple(entry for entry in self.mailboxes if entry.name == source_name),
                "folders": tuple(entry for entry in self.folders if entry.name == source_name),
                "inbox": inbox,
            }
        )

    @property
    def secrets_directory(self) -> Path:
        """The directory of the tokens that a sign-in service has renewed."""
        return self.home / "secrets"

    @property
    def effective_ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL; it may contain a password, so never print it."""
        return self.ledger_url.get_secret_value() if self.ledger_url else f"sqlite:///{self.home / 'ledger.sqlite'}"
