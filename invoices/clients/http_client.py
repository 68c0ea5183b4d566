"""One HTTP exchange, bounded in time and size: ``make_session`` makes the session, ``Origin.exchange`` asks.

Nothing is repeated, no redirect is followed, nothing comes from the environment, and no credential lives in a session:
each request to its own origin is given its own headers. Sources: reliability V-43, V-44, F-34 to F-37, S-10 to S-16.
"""

from __future__ import annotations

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
from invoices.clients.strict_json import InvalidJsonError, parse_json
from invoices.errors import ConfigurationError, InvoicesError

MEGABYTE = 1024 * 1024
MAX_RESPONSE_BYTES = 10 * MEGABYTE
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}
FormPart = tuple[str | None, bytes, str | None]  # of a form: file name, content, media type; a plain field has no name
ErrorMapper = Callable[[ApiCall, int, Mapping[str, str], bytes], InvoicesError]  # what an answer other than 2xx means
_CONNECTION_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a call may take, in seconds: to connect, between two signs of life, and altogether."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0

    @classmethod
    def from_deadline(cls, seconds: float) -> Timeouts:
        """Return the usual patience, with no part of it longer than ``seconds``."""
        return cls(min(cls().connect, seconds), min(cls().read, seconds), seconds)

    def extend_by(self, seconds: float) -> Timeouts:
        """Return this patience for a call that the other side was asked to hold for so long."""
        return Timeouts(self.connect, self.read + seconds, self.total + seconds)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A 2xx as it came, decompressed; ``is_framed`` tells whether the server said where the body ends."""

    call: ApiCall
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_length_declared: bool = True

    @property
    def request_id(self) -> str | None:
        """The vendor's id of this call, if it gave one."""
        return error_mapping.find_request_id(self.call, self.headers)

    def parse_json(self) -> Any:
        """Return the body's JSON value with exact numbers; raises ContractError, or UnknownOutcome after a POST."""
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type and not (media_type in ("application/json", "text/json") or media_type.endswith("+json")):
            raise self.build_unreadable_error(f"with {media_type[:60]!r} where JSON was expected")
        try:
            return parse_json(self.body)
        except InvalidJsonError as error:
            raise error_mapping.build_unreadable_response_error(
                self.call, f"its body is {error}", self.request_id, is_truncated=not self.is_length_declared
            ) from None

    def build_unreadable_error(self, problem: str) -> InvoicesError:
        """Return the error to raise when the answer is a success that cannot be understood."""
        return error_mapping.build_unreadable_response_error(self.call, problem, self.request_id)


def make_session() -> requests.Session:
    """Return a session that knows no environment, proxy, netrc or cookie, and carries no credential."""
    session = _NoRedirectSession()
    session.trust_env = False
    session.headers.update({"User-Agent": "invoices", "Accept": "*/*", "Accept-Encoding": "gzip"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, WatchdogAdapter(max_retries=0, pool_maxsize=32))
    return session


class _NoRedirectSession(requests.Session):
    """Sees no redirect target: requests would read a redirect's body whole, even when told not to follow."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002  requests' signature
        """Return None, always."""
        return None


class HttpClient:
    """One remote API at its address: where it is, who we are there, and how patient we are.

    ``headers`` carry the credentials and are sent to this origin alone; ``secrets`` are kept out of every message;
    ``judge`` knows what this vendor's refusals mean.
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
        """Check the address and the credentials; raises ConfigurationError, and nothing is sent."""
        self.base_url = validate_base_url(base_url)
        for name, value in (headers or {}).items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                redacted_url = _strip_userinfo(base_url)
                raise ConfigurationError(
                    f"what to send as {name!r} to {redacted_url!r} is empty or not printable ASCII"
                )
        self._session, self._headers, self._secrets = session, dict(headers or {}), secrets
        self._timeouts, self._map_error = timeouts or Timeouts(), map_error

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"Origin({self.base_url!r})"

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
        """Send one request and return its 2xx; every other outcome is one of our errors (see ``classification``).

        ``has_own_id`` marks a POST that may be sent again because it carries an id of ours; ``held`` are the seconds
        for which the other side was asked to hold its answer; ``secrets`` are those of this one request.
        """
        url = f"{self.base_url}/{path.lstrip('/')}"
        request = requests.Request(
            method, url, params=dict(params or {}), data=data, files=files, headers={**self._headers, **(headers or {})}
        )
        timeouts = self._timeouts.extend_by(hold_seconds)
        all_secrets = (*self._secrets, *secrets)
        return send_request_once(
            self._session,
            request,
            timeouts,
            all_secrets,
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
    """Send ``request`` once and return its 2xx with a body of at most ``largest`` bytes.

    ``may_speak_with`` is asked about the address that the host's name has led to, before anything is sent there.

    Raises what ``classification`` says: TransientError, UnknownOutcome, AccountError, DocumentError, NotFound,
    ContractError; and ConfigurationError for a session that ``make_session`` did not make, or an unusable address.
    """
    url_parts = urlsplit(str(request.url))
    call = ApiCall(str(request.method), f"{url_parts.hostname}{url_parts.path}", secrets, has_idempotency_id)
    if not isinstance(session.get_adapter(str(request.url)), WatchdogAdapter):
        raise ConfigurationError(f"{call}: the session must come from make_session")
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
            raise ConfigurationError(f"{call}: the address or a header cannot be sent") from None
        except _CONNECTION_ERRORS as error:
            if isinstance(_get_root_cause(error), ssl.SSLCertVerificationError):
                raise error_mapping.build_certificate_error(call) from None
            if watchdog.refused_address is not None:
                raise error_mapping.build_forbidden_address_error(call, watchdog.refused_address) from None
            problem = (
                f"no complete answer within {timeouts.total:g} s"
                if watchdog.has_expired
                else _describe_connection_error(error)
            )
            raise error_mapping.build_connection_error(call, problem, was_sent=watchdog.was_sent) from None


def validate_base_url(base_url: str) -> str:
    """Return the address without a closing slash; raises ConfigurationError unless it is https, or http on loopback."""
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
        raise ConfigurationError(
            f"not an address of an API (scheme, host and path alone): {_strip_userinfo(base_url)!r}"
        )
    if url_parts.scheme != "https" and not (url_parts.scheme == "http" and url_parts.hostname in LOOPBACK_HOSTS):
        raise ConfigurationError(f"a credential is sent over https, or http on this machine, not to {base_url!r}")
    return base_url.rstrip("/")


def _strip_userinfo(url: str) -> str:
    return url.rpartition("@")[2]


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
    """Return an error's body as far as it can be read: the status has already decided."""
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
        return "an unreadable address"


def _describe_connection_error(error: BaseException) -> str:
    """Return what broke, in words that hold no address, header or body."""
    return " / ".join(dict.fromkeys([type(error).__name__, type(_get_root_cause(error)).__name__]))


def _get_root_cause(error: BaseException) -> BaseException:
    cause = error
    for _ in range(6):
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        inner = inner if isinstance(inner, BaseException) else (cause.__cause__ or cause.__context__)
        if inner is None:
            break
        cause = inner
    return cause
