"""Connects to remote folders: one filesystem per URL scheme, configured by the settings alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings, is_loopback_host, read_secret

CONNECT_SECONDS, READ_SECONDS = 15, 60
EXTRA_BY_SCHEME: Mapping[str, str] = {
    "s3": "s3", "sftp": "sftp", "webdav+https": "webdav", "webdav+http": "webdav", "gs": "gcs", "az": "azure",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The options and secrets of one folder; a secret is read when it is needed."""

    settings: FolderSettings
    url: SplitResult

    def get_option(self, name: str, default: Any = None) -> Any:
        """Return an option that is not secret."""
        return self.settings.options.get(name, default)

    def find_secret(self, name: str) -> str | None:
        """Return a secret, or None if it is not set. Raises ConfigurationError if its file cannot be read."""
        value, file = self.settings.secrets.get(name), self.settings.secret_files.get(name)
        if value is None and file is None:
            return None
        return read_secret(value, file, f"folder {self.settings.name!r}: {name}")

    def require_option(self, is_met: object, problem: str) -> None:
        """Raise ConfigurationError with ``problem`` unless ``is_met``."""
        if not is_met:
            raise ConfigurationError(f"folder {self.settings.name!r}: {problem}")


@dataclass(frozen=True, slots=True)
class FolderConnection:
    """A filesystem, the path of the folder in it, and the location of the folder for the ledger."""

    filesystem: Any
    root: str
    location: str
    scheme: str

    def close(self) -> None:
        """Close the connection if the filesystem does not do so by itself."""
        if self.scheme == "sftp":
            self.filesystem.close()
        elif self.scheme.startswith("webdav"):
            self.filesystem.client.http.close()


def connect_to_folder(settings: FolderSettings) -> FolderConnection:
    """Return a filesystem for the folder; some connect at once, others with the first request.

    Raises:
        ConfigurationError: the scheme is unknown, its package is not installed, or an option or secret is missing.
    """
    url = urlsplit(settings.url)
    options = ConnectionOptions(settings, url)
    options.require_option(
        url.scheme in _BACKENDS, f"the URL scheme {url.scheme!r} is not supported; use one of {', '.join(_BACKENDS)}"
    )
    allowed_options, open_filesystem = _BACKENDS[url.scheme]
    given_options = {*settings.options, *settings.secrets, *settings.secret_files}
    options.require_option(
        given_options <= set(allowed_options),
        f"unknown options for {url.scheme}: {sorted(given_options - set(allowed_options))}",
    )
    host = url.netloc.rpartition("@")[2]
    try:
        filesystem, root = open_filesystem(options)
    except ImportError as error:
        extra_name = EXTRA_BY_SCHEME[url.scheme]
        raise ConfigurationError(
            f"folder {settings.name!r}: {url.scheme} is not installed; run: pip install 'invoices[{extra_name}]'"
        ) from error
    return FolderConnection(
        filesystem, root.rstrip("/"), f"{url.scheme}://{host}{unquote(url.path)}".rstrip("/"), url.scheme
    )


def _open_s3_filesystem(options: ConnectionOptions) -> tuple[Any, str]:
    """Open S3 with keys from the settings alone, never from the environment or from files of the AWS tools."""
    from s3fs import S3FileSystem

    is_anonymous = bool(options.get_option("anon", False))
    key, key_secret = options.get_option("key") or options.find_secret("key"), options.find_secret("secret")
    options.require_option(is_anonymous or (key and key_secret), "set key and secret, or anon = true")
    filesystem = S3FileSystem(
        anon=is_anonymous,
        key=key,
        secret=key_secret,
        token=options.find_secret("token"),
        endpoint_url=options.get_option("endpoint_url"),
        client_kwargs={"region_name": options.get_option("region", "us-east-1")},
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 2},
            "ignore_configured_endpoint_urls": True,
            "s3": {"addressing_style": options.get_option("addressing_style", "auto")},
        },
        session=_build_aws_session(),
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


def _build_aws_session() -> Any:
    """Return a session that reads neither environment variables nor files in the user's home directory."""
    from aiobotocore.session import AioSession
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    variables_without_environment = {
        name: (None, None, default, kind) for name, (_, _, default, kind) in VARIABLES.items()
    }
    disabled_files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return AioSession(session_vars=variables_without_environment | disabled_files)


def _open_sftp_filesystem(options: ConnectionOptions) -> tuple[Any, str]:
    """Open SFTP. The host key must be known; the user's own agent, keys and settings are not used."""
    from sources.folder.sftp_filesystem import SftpFileSystem, parse_private_key

    known_hosts = options.get_option("known_hosts")
    options.require_option(known_hosts, "set known_hosts to a file with the host's key, as ssh-keyscan writes it")
    options.require_option(
        Path(str(known_hosts)).is_file(), f"the known_hosts file {str(known_hosts)!r} does not exist"
    )
    username = options.url.username or options.get_option("username")
    password, key = options.find_secret("password"), options.find_secret("private_key")
    options.require_option(username and (password or key), "set username, and password or private_key")
    filesystem = SftpFileSystem(
        options.url.hostname or "",
        port=options.url.port or options.get_option("port", 22),
        username=unquote(str(username)),
        password=password,
        client_keys=[parse_private_key(key, options.find_secret("passphrase"), options.settings.name)] if key else [],
        known_hosts=str(known_hosts),
        config=None,
        agent_path=None,
        gss_host=None,
        connect_timeout=CONNECT_SECONDS,
        login_timeout=CONNECT_SECONDS,
        keepalive_interval=READ_SECONDS // 3,
        skip_instance_cache=True,
    )
    return filesystem, unquote(options.url.path) or "."


def _open_webdav_filesystem(options: ConnectionOptions) -> tuple[Any, str]:
    """Open WebDAV; without TLS only on this machine."""
    import httpx
    from webdav4.fsspec import WebdavFileSystem

    scheme = options.url.scheme.removeprefix("webdav+")
    options.require_option(
        scheme == "https" or is_loopback_host(options.url.hostname or ""),
        "webdav+http is allowed only for this machine; use webdav+https",
    )
    username, password = options.url.username or options.get_option("username"), options.find_secret("password")
    options.require_option((username is None) == (password is None), "set both username and password, or neither")
    host = options.url.netloc.rpartition("@")[2]
    filesystem = WebdavFileSystem(
        f"{scheme}://{host}{options.url.path}",
        auth=(unquote(str(username)), password) if username else None,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        verify=options.get_option("ca_file", True),
        trust_env=False,
        retry=False,
        skip_instance_cache=True,
    )
    return filesystem, ""


def _open_gcs_filesystem(options: ConnectionOptions) -> tuple[Any, str]:
    """Open Google Cloud Storage with the key of a service account from the settings, or anonymously."""
    from gcsfs import GCSFileSystem

    service_account_key = options.find_secret("token")
    options.require_option(
        service_account_key or options.get_option("anon"), "set token to the key of a service account, or anon = true"
    )
    filesystem = GCSFileSystem(
        project=options.get_option("project"),
        token=json.loads(service_account_key) if service_account_key else "anon",
        endpoint_url=options.get_option("endpoint_url"),
        timeout=READ_SECONDS,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


def _open_azure_filesystem(options: ConnectionOptions) -> tuple[Any, str]:
    """Open Azure Blob Storage with one of its three kinds of secret from the settings."""
    from adlfs import AzureBlobFileSystem

    secrets = {name: options.find_secret(name) for name in ("account_key", "sas_token", "connection_string")}
    options.require_option(any(secrets.values()), "set one of account_key, sas_token and connection_string")
    filesystem = AzureBlobFileSystem(
        account_name=options.get_option("account_name"),
        **secrets,
        anon=False,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


_WEBDAV_BACKEND = (("username", "password", "ca_file"), _open_webdav_filesystem)
_BACKENDS: Mapping[str, tuple[tuple[str, ...], Callable[[ConnectionOptions], tuple[Any, str]]]] = {
    "s3": (("key", "secret", "token", "anon", "endpoint_url", "region", "addressing_style"), _open_s3_filesystem),
    "sftp": (("username", "port", "known_hosts", "password", "private_key", "passphrase"), _open_sftp_filesystem),
    "webdav+https": _WEBDAV_BACKEND,
    "webdav+http": _WEBDAV_BACKEND,
    "gs": (("project", "token", "anon", "endpoint_url"), _open_gcs_filesystem),
    "az": (("account_name", "account_key", "sas_token", "connection_string"), _open_azure_filesystem),
}
