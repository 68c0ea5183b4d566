"""How a remote folder is reached: one filesystem per scheme, with nothing that the settings do not say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from invoices.errors import ConfigurationError
from invoices.settings.intake import Folder, is_this_machine, secret

CONNECT_SECONDS, READ_SECONDS = 15, 60
INSTALL: Mapping[str, str] = {
    "s3": "s3", "sftp": "sftp", "webdav+https": "webdav", "webdav+http": "webdav", "gs": "gcs", "az": "azure",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say about one server; secrets are read when they are asked for."""

    settings: Folder
    url: SplitResult

    def plain(self, name: str, default: Any = None) -> Any:
        """Return an option that is no secret."""
        return self.settings.options.get(name, default)

    def secret(self, name: str) -> str | None:
        """Return a secret, or None where there is none. Raises ConfigurationError where its file cannot be read."""
        value, file = self.settings.secrets.get(name), self.settings.secret_files.get(name)
        if value is None and file is None:
            return None
        return secret(value, file, f"folder {self.settings.name!r}: {name}")

    def demand(self, is_met: object, what: str) -> None:
        """Raise ConfigurationError unless it is met."""
        if not is_met:
            raise ConfigurationError(f"folder {self.settings.name!r}: {what}")


@dataclass(frozen=True, slots=True)
class Connection:
    """A filesystem, the folder in it, and how the ledger says where the folder is."""

    filesystem: Any
    root: str
    location: str
    scheme: str

    def close(self) -> None:
        """End the connection where the filesystem does not do so by itself."""
        if self.scheme == "sftp":
            self.filesystem.close()
        elif self.scheme.startswith("webdav"):
            self.filesystem.client.http.close()


def connect(settings: Folder) -> Connection:
    """Return a filesystem for the folder; some connect at once, others with the first question.

    Raises:
        ConfigurationError: the scheme is not known, its package is not installed, or an option or secret is missing.
    """
    url = urlsplit(settings.url)
    options = Options(settings, url)
    options.demand(url.scheme in _OPENED, f"{url.scheme!r} is no kind of folder; known are {', '.join(_OPENED)}")
    known, make = _OPENED[url.scheme]
    stated = {*settings.options, *settings.secrets, *settings.secret_files}
    options.demand(stated <= set(known), f"{sorted(stated - set(known))} are no options of {url.scheme}")
    host = url.netloc.rpartition("@")[2]
    try:
        filesystem, root = make(options)
    except ImportError as error:
        extra = INSTALL[url.scheme]
        raise ConfigurationError(
            f"folder {settings.name!r}: {url.scheme} is not installed; try: pip install 'invoices[{extra}]'"
        ) from error
    return Connection(filesystem, root.rstrip("/"), f"{url.scheme}://{host}{unquote(url.path)}".rstrip("/"), url.scheme)


def _s3(options: Options) -> tuple[Any, str]:
    """S3: keys from the settings alone, neither from the environment nor from a file of the AWS tools."""
    from s3fs import S3FileSystem

    anonymous = bool(options.plain("anon", False))
    key, key_secret = options.plain("key") or options.secret("key"), options.secret("secret")
    options.demand(anonymous or (key and key_secret), "set key and secret, or anon = true")
    filesystem = S3FileSystem(
        anon=anonymous,
        key=key,
        secret=key_secret,
        token=options.secret("token"),
        endpoint_url=options.plain("endpoint_url"),
        client_kwargs={"region_name": options.plain("region", "us-east-1")},
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 2},
            "ignore_configured_endpoint_urls": True,
            "s3": {"addressing_style": options.plain("addressing_style", "auto")},
        },
        session=_aws_session(),
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


def _aws_session() -> Any:
    """Return a session that reads no variable of the environment, and no file in the home of whoever runs this."""
    from aiobotocore.session import AioSession
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES

    blind = {name: (None, None, default, kind) for name, (_, _, default, kind) in VARIABLES.items()}
    files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return AioSession(session_vars=blind | files)


def _sftp(options: Options) -> tuple[Any, str]:
    """SFTP: the host must be known; no agent, no key and no settings of whoever runs this."""
    from sources.folder.sftp import Sftp, private_key

    known_hosts = options.plain("known_hosts")
    options.demand(known_hosts, "set known_hosts to a file with the host's key, as ssh-keyscan writes it")
    options.demand(Path(str(known_hosts)).is_file(), f"there is no file {str(known_hosts)!r} of known hosts")
    username = options.url.username or options.plain("username")
    password, key = options.secret("password"), options.secret("private_key")
    options.demand(username and (password or key), "set username, and password or private_key")
    filesystem = Sftp(
        options.url.hostname or "",
        port=options.url.port or options.plain("port", 22),
        username=unquote(str(username)),
        password=password,
        client_keys=[private_key(key, options.secret("passphrase"), options.settings.name)] if key else [],
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


def _webdav(options: Options) -> tuple[Any, str]:
    """WebDAV: with a password only over TLS, or on this machine."""
    import httpx
    from webdav4.fsspec import WebdavFileSystem

    scheme = options.url.scheme.removeprefix("webdav+")
    options.demand(
        scheme == "https" or is_this_machine(options.url.hostname or ""), "webdav+http is for this machine itself only"
    )
    username, password = options.url.username or options.plain("username"), options.secret("password")
    options.demand((username is None) == (password is None), "set both username and password, or none of them")
    host = options.url.netloc.rpartition("@")[2]
    filesystem = WebdavFileSystem(
        f"{scheme}://{host}{options.url.path}",
        auth=(unquote(str(username)), password) if username else None,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        verify=options.plain("ca_file", True),
        trust_env=False,
        retry=False,
        skip_instance_cache=True,
    )
    return filesystem, ""


def _gcs(options: Options) -> tuple[Any, str]:
    """Google Cloud Storage: a service account's key from the settings, or nobody at all."""
    from gcsfs import GCSFileSystem

    account = options.secret("token")
    options.demand(account or options.plain("anon"), "set token to the key of a service account, or anon = true")
    filesystem = GCSFileSystem(
        project=options.plain("project"),
        token=json.loads(account) if account else "anon",
        endpoint_url=options.plain("endpoint_url"),
        timeout=READ_SECONDS,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


def _azure(options: Options) -> tuple[Any, str]:
    """Azure Blob Storage: one of its three kinds of secret from the settings."""
    from adlfs import AzureBlobFileSystem

    secrets = {name: options.secret(name) for name in ("account_key", "sas_token", "connection_string")}
    options.demand(any(secrets.values()), "set one of account_key, sas_token and connection_string")
    filesystem = AzureBlobFileSystem(
        account_name=options.plain("account_name"),
        **secrets,
        anon=False,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return filesystem, options.url.netloc + unquote(options.url.path)


_WEBDAV = (("username", "password", "ca_file"), _webdav)
_OPENED: Mapping[str, tuple[tuple[str, ...], Callable[[Options], tuple[Any, str]]]] = {
    "s3": (("key", "secret", "token", "anon", "endpoint_url", "region", "addressing_style"), _s3),
    "sftp": (("username", "port", "known_hosts", "password", "private_key", "passphrase"), _sftp),
    "webdav+https": _WEBDAV,
    "webdav+http": _WEBDAV,
    "gs": (("project", "token", "anon", "endpoint_url"), _gcs),
    "az": (("account_name", "account_key", "sas_token", "connection_string"), _azure),
}
