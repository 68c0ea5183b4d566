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

from invoices.clients import classification
from invoices.clients.bodies import decompressed, is_framed, read_body
from invoices.clients.classification import Call
from invoices.clients.json_text import NotStrictJson, parse
from invoices.clients.watching import Watch, WatchedAdapter
from invoices.errors import ConfigurationError, InvoicesError

MEGABYTE = 1024 * 1024
LARGEST_ANSWER = 10 * MEGABYTE
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
Part = tuple[str | None, bytes, str | None]  # of a form: file name, content, media type; a plain field has no name
Judge = Callable[[Call, int, Mapping[str, str], bytes], InvoicesError]  # what an answer other than 2xx means
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, in seconds: to connect, between two signs of life, and altogether."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0

    @classmethod
    def within(cls, seconds: float) -> Patience:
        """Return the usual patience, with no part of it longer than ``seconds``."""
        return cls(min(cls().connect, seconds), min(cls().read, seconds), seconds)

    def longer(self, seconds: float) -> Patience:
        """Return this patience for a call that the other side was asked to hold for so long."""
        return Patience(self.connect, self.read + seconds, self.total + seconds)


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx as it came, decompressed; ``is_framed`` tells whether the server said where the body ends."""

    call: Call
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_framed: bool = True

    @property
    def request_id(self) -> str | None:
        """The vendor's id of this call, if it gave one."""
        return classification.request_id(self.call, self.headers)

    def json(self) -> Any:
        """Return the body's JSON value with exact numbers; raises ContractError, or UnknownOutcome after a POST."""
        media_type = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type and not (media_type in ("application/json", "text/json") or media_type.endswith("+json")):
            raise self.unreadable(f"with {media_type[:60]!r} where JSON was expected")
        try:
            return parse(self.body)
        except NotStrictJson as error:
            raise classification.of_unreadable(
                self.call, f"its body is {error}", self.request_id, is_cut=not self.is_framed
            ) from None

    def unreadable(self, what: str) -> InvoicesError:
        """Return the error to raise when the answer is a success that cannot be understood."""
        return classification.of_unreadable(self.call, what, self.request_id)


def make_session() -> requests.Session:
    """Return a session that knows no environment, proxy, netrc or cookie, and carries no credential."""
    session = _Session()
    session.trust_env = False
    session.headers.update({"User-Agent": "invoices", "Accept": "*/*", "Accept-Encoding": "gzip"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, WatchedAdapter(max_retries=0, pool_maxsize=32))
    return session


class _Session(requests.Session):
    """Sees no redirect target: requests would read a redirect's body whole, even when told not to follow."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002  requests' signature
        """Return None, always."""
        return None


class Origin:
    """One remote API at its address: where it is, who we are there, and how patient we are.

    ``headers`` carry the credentials and are sent to this origin alone; ``secrets`` are kept out of every message;
    ``judge`` knows what this vendor's refusals mean.
    """

    __slots__ = ("_headers", "_judge", "_patience", "_secrets", "_session", "base_url")

    def __init__(
        self,
        base_url: str,
        session: requests.Session,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        patience: Patience | None = None,
        judge: Judge = classification.of_status,
    ) -> None:
        """Check the address and the credentials; raises ConfigurationError, and nothing is sent."""
        self.base_url = checked_base_url(base_url)
        for name, value in (headers or {}).items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                place = _without_user(base_url)
                raise ConfigurationError(f"what to send as {name!r} to {place!r} is empty or not printable ASCII")
        self._session, self._headers, self._secrets = session, dict(headers or {}), secrets
        self._patience, self._judge = patience or Patience(), judge

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"Origin({self.base_url!r})"

    def exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        files: Mapping[str, Part] | None = None,
        largest: int = LARGEST_ANSWER,
        has_own_id: bool = False,
        held: float = 0.0,
        secrets: tuple[str, ...] = (),
    ) -> Reply:
        """Send one request and return its 2xx; every other outcome is one of our errors (see ``classification``).

        ``has_own_id`` marks a POST that may be sent again because it carries an id of ours; ``held`` are the seconds
        for which the other side was asked to hold its answer; ``secrets`` are those of this one request.
        """
        url = f"{self.base_url}/{path.lstrip('/')}"
        request = requests.Request(
            method, url, params=dict(params or {}), data=data, files=files, headers={**self._headers, **(headers or {})}
        )
        patience = self._patience.longer(held)
        hidden = (*self._secrets, *secrets)
        return exchange(self._session, request, patience, hidden, largest, self._judge, has_own_id=has_own_id)


def exchange(
    session: requests.Session,
    request: requests.Request,
    patience: Patience,
    secrets: tuple[str, ...] = (),
    largest: int = LARGEST_ANSWER,
    judge: Judge = classification.of_status,
    *,
    has_own_id: bool = False,
    may_speak_with: Callable[[str], bool] | None = None,
) -> Reply:
    """Send ``request`` once and return its 2xx with a body of at most ``largest`` bytes.

    ``may_speak_with`` is asked about the address that the host's name has led to, before anything is sent there.

    Raises what ``classification`` says: TransientError, UnknownOutcome, AccountError, DocumentError, NotFound,
    ContractError; and ConfigurationError for a session that ``make_session`` did not make, or an unusable address.
    """
    parts = urlsplit(str(request.url))
    call = Call(str(request.method), f"{parts.hostname}{parts.path}", secrets, has_own_id)
    if not isinstance(session.get_adapter(str(request.url)), WatchedAdapter):
        raise ConfigurationError(f"{call}: the session must come from make_session")
    with Watch(patience.total, may_speak_with) as watch:
        try:
            prepared = session.prepare_request(request)
            with session.send(
                prepared, timeout=(patience.connect, patience.read), allow_redirects=False, stream=True, verify=True
            ) as response:
                return _read(call, response, watch, largest, judge)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.InvalidHeader):
            raise ConfigurationError(f"{call}: the address or a header cannot be sent") from None
        except _BROKEN as error:
            if isinstance(_innermost(error), ssl.SSLCertVerificationError):
                raise classification.of_untrusted_certificate(call) from None
            if watch.refused is not None:
                raise classification.of_forbidden_place(call, watch.refused) from None
            what = f"no complete answer within {patience.total:g} s" if watch.has_expired else _in_words(error)
            raise classification.of_broken_line(call, what, was_sent=watch.was_sent) from None


def checked_base_url(base_url: str) -> str:
    """Return the address without a closing slash; raises ConfigurationError unless it is https, or http on loopback."""
    try:
        parts = urlsplit(base_url)
        is_clean = parts.hostname and parts.port != 0 and not (parts.username or parts.password or parts.query)
    except ValueError:
        is_clean = None
    if not is_clean or parts.fragment or "\\" in base_url or not base_url.isascii() or not base_url.isprintable():
        raise ConfigurationError(f"not an address of an API (scheme, host and path alone): {_without_user(base_url)!r}")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ConfigurationError(f"a credential is sent over https, or http on this machine, not to {base_url!r}")
    return base_url.rstrip("/")


def _without_user(url: str) -> str:
    return url.rpartition("@")[2]


def _read(call: Call, response: requests.Response, watch: Watch, largest: int, judge: Judge) -> Reply:
    status, headers = response.status_code, response.headers
    if 300 <= status < 400:
        target = _host(headers.get("Location", "")) or "the same host"
        raise classification.of_redirect(call, status, target, classification.request_id(call, headers))
    if not 200 <= status < 300:
        raise judge(call, status, headers, _error_body(response, watch))
    body = read_body(response, largest)
    problem = "its body is larger than allowed" if body is None else None
    if body is not None:
        body, problem = decompressed(body, headers.get("Content-Encoding", ""), largest)
    if body is None:
        raise classification.of_unreadable(call, problem or "", classification.request_id(call, headers))
    if watch.has_expired:
        raise TimeoutError
    return Reply(call, status, headers, body, is_framed(response))


def _error_body(response: requests.Response, watch: Watch) -> bytes:
    """Return an error's body as far as it can be read: the status has already decided."""
    try:
        body = read_body(response, MEGABYTE) or b""
    except _BROKEN:
        return b""
    if watch.has_expired:
        return b""
    return decompressed(body, response.headers.get("Content-Encoding", ""), MEGABYTE)[0] or b""


def _host(location: str) -> str | None:
    try:
        return urlsplit(location[:2000]).hostname
    except ValueError:
        return "an unreadable address"


def _in_words(error: BaseException) -> str:
    """Return what broke, in words that hold no address, header or body."""
    return " / ".join(dict.fromkeys([type(error).__name__, type(_innermost(error)).__name__]))


def _innermost(error: BaseException) -> BaseException:
    seen = error
    for _ in range(6):
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        inner = inner if isinstance(inner, BaseException) else (seen.__cause__ or seen.__context__)
        if inner is None:
            break
        seen = inner
    return seen
