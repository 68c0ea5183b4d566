"""One HTTP exchange, bounded in time and size: ``make_session`` makes a session, ``HttpClient`` sends its requests.

Nothing is repeated, no redirect is followed, and nothing is read from the environment. A session holds no credentials:
each client adds its own headers to its own requests. Sources: reliability V-43, V-44, F-34 to F-37, S-10 to S-16.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from invoices.clients import error_mapping
from invoices.clients.connection_watchdog import ConnectionWatchdog, WatchdogAdapter
from invoices.clients.error_mapping import ApiCall
from invoices.clients.response_body import decompress_body, is_length_declared, read_raw_body
from invoices.clients.strict_json import InvalidJsonError, parse_json, parse_json_keeping_odd_values
from invoices.errors import ConfigurationError, InvoicesError

MEGABYTE = 1024 * 1024
MAX_RESPONSE_BYTES = 10 * MEGABYTE
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}
FormPart = tuple[str | None, bytes, str | None]  # file name (None for a plain field), content, media type
ErrorMapper = Callable[[ApiCall, int, Mapping[str, str], bytes], InvoicesError]  # call, status, headers, body → error
_CONNECTION_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a call may take, in seconds: to connect, between two reads, and in total."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0

    @classmethod
    def from_deadline(cls, seconds: float) -> Timeouts:
        """Return the default timeouts, none of them longer than ``seconds``, and ``seconds`` in total."""
        return cls(min(cls().connect, seconds), min(cls().read, seconds), seconds)

    def extend_by(self, seconds: float) -> Timeouts:
        """Return the timeouts for a long poll that the server may hold for ``seconds``."""
        return Timeouts(self.connect, self.read + seconds, self.total + seconds)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A 2xx response, decompressed; ``is_length_declared`` is whether its headers say where the body ends."""

    call: ApiCall
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_length_declared: bool = True

    @property
    def request_id(self) -> str | None:
        """The vendor's id of this call, if it sent one."""
        return error_mapping.find_request_id(self.call, self.headers)

    def parse_json(self) -> Any:
        """Return the body's JSON value with exact numbers; raises ContractError, or UnknownOutcome after a POST."""
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type and not (media_type in ("application/json", "text/json") or media_type.endswith("+json")):
            raise self.build_unreadable_error(f"it is {media_type[:60]!r}, not JSON")
        try:
            return parse_json(self.body)
        except InvalidJsonError as error:
            raise error_mapping.build_unreadable_response_error(
                self.call,
                f"its body is not valid JSON: {error}",
                self.request_id,
                is_truncated=not self.is_length_declared,
            ) from None

    def parse_answer(self) -> Any:
        """Return the value of a paid answer, in which no odd value is refused; raises as ``parse_json``."""
        try:
            return parse_json_keeping_odd_values(self.body)
        except InvalidJsonError:
            return self.parse_json()  # raises what fits the media type

    def find_stated_json(self) -> str | None:
        """Return the text of a complete body that is declared as JSON, or looks like it; None for anything else.

        Bytes that are not of its encoding are shown as escapes, so that nothing is lost and nothing is guessed.
        """
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_json = media_type in ("application/json", "text/json") or media_type.endswith("+json")
        looks_like_json = not media_type and self.body.lstrip()[:1] in (b"{", b"[")
        if not self.is_length_declared or not self.body.strip() or not (is_json or looks_like_json):
            return None
        return self.body.decode(json.detect_encoding(self.body), "backslashreplace")

    def build_unreadable_error(self, problem: str) -> InvoicesError:
        """Return the error to raise when this 2xx cannot be used because of ``problem``."""
        return error_mapping.build_unreadable_response_error(self.call, problem, self.request_id)


def make_session() -> requests.Session:
    """Return a session without proxies, netrc, cookies or anything else from the environment, and no credentials."""
    session = _NoRedirectSession()
    session.trust_env = False
    session.headers.update({"User-Agent": "invoices", "Accept": "*/*", "Accept-Encoding": "gzip"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, WatchdogAdapter(max_retries=0, pool_maxsize=32))
    return session


class _NoRedirectSession(requests.Session):
    """Ignores redirect targets: requests reads the whole body of a redirect, even with ``allow_redirects=False``."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002  requests' signature
        """Return None, always."""
        return None


class HttpClient:
    """One remote API: its URL, our credentials and the timeouts.

    ``headers`` carry the credentials and are sent to this API only. ``secrets`` are kept out of every message.
    ``map_error`` returns the error for a response other than 2xx.
    """

    __slots__ = ("_headers", "_map_error", "_secrets", "_session", "_timeouts", "base_url")

    def __init__(
        self,
        base_url: str,
        session: requests.Session,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        timeouts: Timeouts | None = None,
        map_error: ErrorMapper = error_mapping.build_status_error,
    ) -> None:
        """Check the URL and the headers without sending anything; raises ConfigurationError."""
        self.base_url = validate_base_url(base_url)
        for name, value in (headers or {}).items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the header {name!r} for {self.base_url!r} must be printable ASCII, not empty, and without spaces "
                    "at its ends"
                )
        self._session, self._headers, self._secrets = session, dict(headers or {}), secrets
        self._timeouts, self._map_error = timeouts or Timeouts(), map_error

    def __repr__(self) -> str:
        """Return the URL without any secret."""
        return f"HttpClient({self.base_url!r})"

    def send_request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        files: Mapping[str, FormPart] | None = None,
        max_bytes: int = MAX_RESPONSE_BYTES,
        has_idempotency_id: bool = False,
        hold_seconds: float = 0.0,
        secrets: tuple[str, ...] = (),
    ) -> ApiResponse:
        """Send one request and return its 2xx response; every other outcome is one of our errors (``error_mapping``).

        ``has_idempotency_id`` marks a POST that may be sent again because it carries an id of ours. ``hold_seconds``
        extends the timeouts for a long poll. ``secrets`` are those of this request only.
        """
        url = f"{self.base_url}/{path.lstrip('/')}"
        request = requests.Request(
            method, url, params=dict(params or {}), data=data, files=files, headers={**self._headers, **(headers or {})}
        )
        return send_request_once(
            self._session,
            request,
            self._timeouts.extend_by(hold_seconds),
            (*self._secrets, *secrets),
            max_bytes,
            self._map_error,
            has_idempotency_id=has_idempotency_id,
        )


def send_request_once(
    session: requests.Session,
    request: requests.Request,
    timeouts: Timeouts,
    secrets: tuple[str, ...] = (),
    max_bytes: int = MAX_RESPONSE_BYTES,
    map_error: ErrorMapper = error_mapping.build_status_error,
    *,
    has_idempotency_id: bool = False,
    is_address_allowed: Callable[[str], bool] | None = None,
) -> ApiResponse:
    """Send ``request`` once and return its 2xx response with a body of at most ``max_bytes``.

    Before anything is sent, ``is_address_allowed`` gets the IP address that the host name resolved to.

    Raises the errors of ``error_mapping``: TransientError, UnknownOutcome, AccountError, DocumentError, NotFound,
    ContractError; and ConfigurationError for a session that is not from ``make_session``, or an unusable URL.
    """
    url_parts = urlsplit(str(request.url))
    call = ApiCall(str(request.method), f"{url_parts.hostname}{url_parts.path}", secrets, has_idempotency_id)
    if not isinstance(session.get_adapter(str(request.url)), WatchdogAdapter):
        raise ConfigurationError(f"{call} was not sent: the session must come from make_session")
    with ConnectionWatchdog(timeouts.total, is_address_allowed) as watchdog:
        try:
            prepared_request = session.prepare_request(request)
            with session.send(
                prepared_request,
                timeout=(timeouts.connect, timeouts.read),
                allow_redirects=False,
                stream=True,
                verify=True,
            ) as response:
                return _read_successful_response(call, response, watchdog, max_bytes, map_error)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.InvalidHeader):
            raise ConfigurationError(f"{call} was not sent: its URL or one of its headers is not valid") from None
        except _CONNECTION_ERRORS as error:
            root_cause = _get_root_cause(error)
            if isinstance(root_cause, ssl.SSLCertVerificationError):
                raise error_mapping.build_certificate_error(call) from None
            if watchdog.refused_address is not None:
                raise error_mapping.build_forbidden_address_error(call, watchdog.refused_address) from None
            if watchdog.has_expired:
                problem = f"no complete answer within {timeouts.total:g} s"
            else:  # type names only: an error's text may quote the URL, a header or the body
                problem = " / ".join(dict.fromkeys([type(error).__name__, type(root_cause).__name__]))
            raise error_mapping.build_connection_error(call, problem, was_sent=watchdog.was_sent) from None


def validate_base_url(base_url: str) -> str:
    """Return the URL without trailing slashes; raises ConfigurationError unless it is https, or http on loopback."""
    try:
        url_parts = urlsplit(base_url)
        is_clean = (
            url_parts.hostname
            and url_parts.port != 0
            and not (url_parts.username or url_parts.password or url_parts.query)
        )
    except ValueError:
        is_clean = None
    if not is_clean or url_parts.fragment or "\\" in base_url or not base_url.isascii() or not base_url.isprintable():
        url_without_userinfo = base_url.rpartition("@")[2]
        raise ConfigurationError(
            f"{url_without_userinfo!r} is not the base URL of an API: use scheme, host and path only"
        )
    if url_parts.scheme != "https" and not (url_parts.scheme == "http" and url_parts.hostname in LOOPBACK_HOSTS):
        raise ConfigurationError(
            f"no credential is sent to {base_url!r}: use https (http is accepted for this machine only)"
        )
    return base_url.rstrip("/")


def _read_successful_response(
    call: ApiCall, response: requests.Response, watchdog: ConnectionWatchdog, max_bytes: int, map_error: ErrorMapper
) -> ApiResponse:
    status, headers = response.status_code, response.headers
    if 300 <= status < 400:
        target = _find_redirect_host(headers.get("Location", "")) or "the same host"
        raise error_mapping.build_redirect_error(call, status, target, error_mapping.find_request_id(call, headers))
    if not 200 <= status < 300:
        raise map_error(call, status, headers, _read_error_body(response, watchdog))
    body = read_raw_body(response, max_bytes)
    problem = "its body is larger than allowed" if body is None else None
    if body is not None:
        body, problem = decompress_body(body, headers.get("Content-Encoding", ""), max_bytes)
    if body is None:
        raise error_mapping.build_unreadable_response_error(
            call, problem or "", error_mapping.find_request_id(call, headers)
        )
    if watchdog.has_expired:
        raise TimeoutError
    return ApiResponse(call, status, headers, body, is_length_declared(response))


def _read_error_body(response: requests.Response, watchdog: ConnectionWatchdog) -> bytes:
    """Return an error's body, or nothing if it cannot be read: the status alone decides then."""
    try:
        body = read_raw_body(response, MEGABYTE) or b""
    except _CONNECTION_ERRORS:
        return b""
    if watchdog.has_expired:
        return b""
    return decompress_body(body, response.headers.get("Content-Encoding", ""), MEGABYTE)[0] or b""


def _find_redirect_host(location: str) -> str | None:
    try:
        return urlsplit(location[:2000]).hostname
    except ValueError:
        return "an unreadable URL"


def _get_root_cause(error: BaseException) -> BaseException:
    cause = error
    for _ in range(6):
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        inner = inner if isinstance(inner, BaseException) else (cause.__cause__ or cause.__context__)
        if inner is None:
            break
        cause = inner
    return cause
