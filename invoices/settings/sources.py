"""Settings of the sources: mailboxes, folders, and the intake of their documents."""

from __future__ import annotations

import ipaddress
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from invoices.errors import ConfigurationError
from invoices.settings.section import OptionalSecret, SettingsSection

SOURCE_NAME_PATTERN = r"^[a-z0-9_-]{1,40}$"
DEFAULT_IMAP_PORTS: Mapping[str, int] = {"tls": 993, "starttls": 143, "none": 143}
OAUTH_PROVIDERS: Mapping[str, tuple[str, str, str]] = {  # host, token endpoint, scope
    "google": ("imap.gmail.com", "https://oauth2.googleapis.com/token", "https://mail.google.com/"),
    "microsoft": (
        "outlook.office365.com",
        "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
    ),
}
MOVE_PREFIX = "move:"
MAX_FOLDER_NAME_CHARS = 200  # as many as the ledger stores


class InboxSettings(SettingsSection):
    """The default folder, for an application without other sources."""

    name: str = Field("inbox", pattern=SOURCE_NAME_PATTERN, description="name of the source, part of every sighting")
    path: Path | None = Field(None, description="the folder; default: inbox in the home directory")
    settle_seconds: float = Field(
        2.0, ge=0, description="a file younger than this is checked twice, this far apart, before it is collected"
    )


class MailRule(SettingsSection):
    """Which mails are collected or skipped: a mail matches if it meets every condition; the first match decides.

    Patterns are those of file names (``*``, ``?``, ``[…]``), without regard to case.
    """

    take: bool = Field(True, description="whether matching mails are collected; false skips them")
    sender: str | None = Field(None, description="pattern of the sender's address, e.g. *@supplier.example")
    recipient: str | None = Field(None, description="pattern of an address in To or Cc")
    subject: str | None = Field(None, description="pattern of the subject")
    younger_than_days: float | None = Field(None, gt=0, description="arrived less than this many days ago")
    older_than_days: float | None = Field(None, gt=0, description="arrived more than this many days ago")
    attachment: str | None = Field(
        None, description="pattern of file names; only these are collected from a matching mail"
    )


class OAuthSettings(SettingsSection):
    """Sign-in to a mailbox: an access token from a refresh token (RFC 6749 §6), sent as XOAUTH2."""

    provider: Literal["google", "microsoft"] | None = Field(None, description="whose token endpoint and scope are used")
    tenant: str = Field("common", pattern=r"^[A-Za-z0-9.-]{1,80}$", description="Microsoft's tenant")
    client_id: str = Field(min_length=1, description="of your registered application")
    client_secret: OptionalSecret = Field(None, description="of your application, if it has one")
    client_secret_file: Path | None = Field(None, description="a file with the secret")
    refresh_token: OptionalSecret = Field(None, description="from a first sign-in")
    refresh_token_file: Path | None = Field(None, description="a file with the refresh token")
    token_url: str | None = Field(None, description="the token endpoint; default: the provider's")
    scope: str | None = Field(None, description="the requested scope; default: the provider's")

    @model_validator(mode="after")
    def _check_provider_and_refresh_token(self) -> Self:
        if self.provider is None and self.token_url is None:
            raise ValueError("set provider or token_url")
        if (self.refresh_token is None) == (self.refresh_token_file is None):
            raise ValueError("set either refresh_token or refresh_token_file")
        return self

    @property
    def token_endpoint(self) -> str:
        """The URL of the token endpoint."""
        return self.token_url or OAUTH_PROVIDERS[self.provider or ""][1].format(tenant=self.tenant)

    @property
    def effective_scope(self) -> str | None:
        """The requested scope; None requests the scope of the first sign-in."""
        return self.scope or (OAUTH_PROVIDERS[self.provider][2] if self.provider else None)


class MailboxSettings(SettingsSection):
    """One account on an IMAP server."""

    name: str = Field(pattern=SOURCE_NAME_PATTERN, description="name of the source, part of every sighting")
    host: str = Field(min_length=1, max_length=253, description="the IMAP server")
    port: int | None = Field(None, ge=1, le=65535, description="default: 993 with tls, else 143")
    security: Literal["tls", "starttls", "none"] = Field(
        "tls", description="starttls continues encrypted or not at all; none is only for this machine"
    )
    ca_file: Path | None = Field(None, description="the certificate of your own certificate authority")
    username: str = Field(min_length=1, max_length=320, description="the user name of the login")
    password: OptionalSecret = Field(None, description="better in a file: password_file")
    password_file: Path | None = Field(None, description="a file with the password")
    oauth: OAuthSettings | None = Field(None, description="instead of a password")
    folders: tuple[str, ...] = Field(("INBOX",), min_length=1, description="folders that are scanned")
    rules: tuple[MailRule, ...] = Field((), description="which mails are collected; the first match decides")
    otherwise: Literal["take", "leave"] = Field("take", description="what happens to mails that match no rule")
    after: str = Field("keep", description="what happens to a mail once its documents are stored")
    megabytes: int = Field(50, gt=0, le=150, description="a larger mail is not fetched, and reported")
    mails_per_run: int | None = Field(None, ge=1, description="the most mails that one run fetches")
    timeout_seconds: float = Field(60.0, gt=0, le=1740, description="the longest wait for the server's next response")
    authserv_ids: tuple[str, ...] = Field(
        (), description="your own servers' names in Authentication-Results; others are not trusted (RFC 8601 §2.2)"
    )

    @field_validator("host", "username", "folders")
    @classmethod
    def _check_printable(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for text in (value,) if isinstance(value, str) else value:
            if not text.strip() or any(not character.isprintable() for character in text):
                raise ValueError("must not be empty or contain unprintable characters")
        return value

    @field_validator("folders")
    @classmethod
    def _check_folder_name_lengths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(name) > MAX_FOLDER_NAME_CHARS for name in value):
            raise ValueError(f"must not contain a name of more than {MAX_FOLDER_NAME_CHARS} characters")
        return value

    @field_validator("after")
    @classmethod
    def _check_after_action(cls, value: str) -> str:
        target_folder = value.removeprefix(MOVE_PREFIX) if value.startswith(MOVE_PREFIX) else None
        if value not in ("keep", "seen", "flag", "delete") and not (target_folder and target_folder.isprintable()):
            raise ValueError("choose keep, seen, flag, move:<folder> or delete")
        return value

    @model_validator(mode="after")
    def _check_login_security_and_target_folder(self) -> Self:
        if [self.password, self.password_file, self.oauth].count(None) != 2:
            raise ValueError("set exactly one of password, password_file and oauth")
        if self.security == "none" and not is_loopback_host(self.host):
            raise ValueError(
                f"security 'none' is only for this machine, and {self.host!r} is another: set 'tls' or 'starttls'"
            )
        if self.after.removeprefix(MOVE_PREFIX) in self.folders and self.after.startswith(MOVE_PREFIX):
            raise ValueError("after would move mails into a folder that is scanned: choose another folder")
        return self

    @property
    def effective_port(self) -> int:
        """The port of the IMAP server."""
        return self.port or DEFAULT_IMAP_PORTS[self.security]


class FolderSettings(SettingsSection):
    """A folder on this machine or elsewhere."""

    name: str = Field(pattern=SOURCE_NAME_PATTERN, description="name of the source, part of every sighting")
    url: str = Field(
        min_length=1, description="a path, or a URL that fsspec knows: s3://bucket/invoices, sftp://host/in"
    )
    pattern: tuple[str, ...] = Field(("*",), min_length=1, description="patterns of the file names that are collected")
    exclude: tuple[str, ...] = Field((), description="patterns of the file names that are skipped")
    settle_seconds: float = Field(
        2.0, ge=0, description="a file younger than this is checked twice, this far apart, before it is collected"
    )
    after: str = Field("keep", description="what happens to a file once it is stored: keep, or move:<folder beside it>")
    order: Literal["name", "oldest", "newest"] = Field("name", description="which files come first")
    files_per_run: int | None = Field(None, ge=1, description="the most new files that one run collects")
    sub_folders: tuple[Literal["entity", "cost_centre", ""], ...] = Field(
        (), description="the meaning of the sub-folders' names, the outermost first"
    )
    options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="options of the remote filesystem, named as in fsspec"
    )
    secrets: dict[str, SecretStr] = Field(default_factory=dict, description="secret options, e.g. password, secret")
    secret_files: dict[str, Path] = Field(default_factory=dict, description="secret options, each from a file")

    @field_validator("url")
    @classmethod
    def _reject_password_in_url(cls, value: str) -> str:
        if "://" in value and urlsplit(value).password is not None:
            raise ValueError("must not contain a password: use secret_files")
        return value

    @field_validator("after")
    @classmethod
    def _check_after_action(cls, value: str) -> str:
        target_folder = value.removeprefix(MOVE_PREFIX)
        if value != "keep" and (
            value == target_folder or not target_folder.strip("/ ") or not target_folder.isprintable()
        ):
            raise ValueError("choose keep or move:<folder>")
        return value

    @property
    def is_remote(self) -> bool:
        """Whether the folder is accessed through fsspec."""
        return "://" in self.url and not self.url.startswith("file://")


class IntakeSettings(SettingsSection):
    """Settings for all sources."""

    unpack_archives: bool = Field(True, description="whether ZIP files are opened, within limits")
    quiet_factor: float = Field(
        2.0, ge=1, description="a source or supplier is reported as quiet after this many times its usual pause"
    )


def read_secret(value: SecretStr | None, path: Path | None, setting_name: str) -> str:
    """Return a secret from the settings or from its file, without surrounding white space.

    Raises:
        ConfigurationError: neither is set, the file cannot be read or is empty, or all users may read it.
    """
    if value is not None:
        return value.get_secret_value()
    if path is None:
        raise ConfigurationError(f"{setting_name} is not set")
    try:
        file_mode = path.stat().st_mode
        if stat.S_ISDIR(file_mode):
            raise ConfigurationError(f"{setting_name}: the file {str(path)!r} is a folder")
        if file_mode & (stat.S_IROTH | stat.S_IWOTH):
            problem = f"everybody may read {str(path)!r}; try: chmod 600 {shlex.quote(str(path))}"
            raise ConfigurationError(f"{setting_name}: {problem}")
        content = path.read_text(encoding="utf-8").strip()
    except OSError as error:  # its text would name the file a second time
        raise ConfigurationError(f"{setting_name}: cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{setting_name}: the file {str(path)!r} is not UTF-8 text") from error
    if not content:
        raise ConfigurationError(f"{setting_name}: the file {str(path)!r} is empty")
    return content


def is_loopback_host(host: str) -> bool:
    """Return whether a host is a loopback address, or localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
