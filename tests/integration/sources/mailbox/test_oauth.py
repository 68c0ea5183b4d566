"""Access tokens for a mailbox: requested, stored and renewed; and accepted or refused by a real Dovecot."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from invoices.errors import AccountError, ConfigurationError, ContractError, TransientError
from sources.mailbox.account import Account
from sources.mailbox.mailbox_session import open_session
from sources.mailbox.oauth import OAuthRegistration, OAuthTokenProvider
from tests.servers import dovecot_server
from tests.servers.dovecot_server import DovecotServer
from tests.servers.scripted_http_server import Disconnect, ReceivedRequest, Response, ScriptedServer
from tests.servers.scripted_imap_server import ScriptedImapServer

PASSDB_TEMPLATE = """
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %s
}
"""
OAUTH2_TEMPLATE = """
tokeninfo_url = %s/tokeninfo?access_token=
username_attribute = email
force_introspection = no
"""


@dataclass
class AuthorizationServer:
    """An authorization server that issues numbered access tokens for known refresh tokens, and checks them."""

    server: ScriptedServer
    username: str = "me@example.org"
    refresh_tokens: list[str] = field(default_factory=lambda: ["first-refresh"])
    valid_tokens: set[str] = field(default_factory=set)
    issued_count: int = 0
    rotates_refresh_tokens: bool = False

    def build_response(self, request: ReceivedRequest) -> Response:
        if request.path == "/tokeninfo":
            token = request.query.get("access_token", "")
            return (
                Response.from_json({"email": self.username})
                if token in self.valid_tokens
                else Response.from_json({}, status=401)
            )
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form["refresh_token"] not in self.refresh_tokens:
            return Response.from_json(
                {"error": "invalid_grant", "error_description": "Token has been revoked."}, status=400
            )
        self.issued_count += 1
        self.valid_tokens = {f"access-{self.issued_count}"}
        token_response = {"access_token": f"access-{self.issued_count}", "token_type": "Bearer", "expires_in": 3600}
        if self.rotates_refresh_tokens:
            self.refresh_tokens = [f"refresh-{self.issued_count}"]
            token_response["refresh_token"] = self.refresh_tokens[0]
        return Response.from_json(token_response)

    def list_request_forms(self) -> list[dict[str, str]]:
        bodies = [parse_qs(request.body.decode()) for request in self.server.requests if request.method == "POST"]
        return [{name: values[0] for name, values in body.items()} for body in bodies]


@pytest.fixture(scope="module")
def authorization_http_server() -> Iterator[ScriptedServer]:
    """The HTTP server of all authorization servers of these tests."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def authorization_server(authorization_http_server: ScriptedServer) -> AuthorizationServer:
    """A new authorization server on the loopback interface."""
    authorization_http_server.requests.clear()
    new_server = AuthorizationServer(authorization_http_server)
    authorization_http_server.set_handler(new_server.build_response)
    return new_server


@pytest.fixture(scope="module")
def oauth_mail_server(
    dovecot_program: Path, authorization_http_server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DovecotServer]:
    """A Dovecot that accepts access tokens and checks them with the authorization server."""
    configuration = tmp_path_factory.mktemp("oauth") / "oauth2.conf"
    configuration.write_text(OAUTH2_TEMPLATE % authorization_http_server.url)
    with dovecot_server.run_server(dovecot_program, PASSDB_TEMPLATE % configuration) as server:
        yield server


def build_token_provider(
    authorization_server: AuthorizationServer,
    directory: Path,
    refresh_token: str = "first-refresh",  # noqa: S107 - of a server of these tests
) -> OAuthTokenProvider:
    registration = OAuthRegistration(
        f"{authorization_server.server.url}/token", "our-app", refresh_token, "our-secret", "mail"
    )
    return OAuthTokenProvider("office", registration, directory)


def test_a_token_is_requested_once_and_used_until_shortly_before_it_expires(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    now = [0.0]
    registration = OAuthRegistration(
        f"{authorization_server.server.url}/token", "our-app", "first-refresh", "our-secret", "mail"
    )
    token = OAuthTokenProvider("office", registration, tmp_path, clock=lambda: now[0])
    assert [token.get_token(), token.get_token()] == ["access-1", "access-1"]
    now[0] = 3539.0
    assert token.get_token() == "access-1"
    now[0] = 3541.0
    assert token.get_token() == "access-2"
    assert authorization_server.list_request_forms()[0] == {
        "grant_type": "refresh_token", "refresh_token": "first-refresh", "client_id": "our-app",
        "client_secret": "our-secret", "scope": "mail",
    }  # fmt: skip


def test_only_the_refused_token_is_discarded(authorization_server: AuthorizationServer, tmp_path: Path) -> None:
    token = build_token_provider(authorization_server, tmp_path)
    first = token.get_token()
    token.discard_token(first)
    assert token.get_token() == "access-2"
    token.discard_token(first)  # a second thread reports the same token late
    assert token.get_token() == "access-2"


def test_a_new_refresh_token_is_stored_privately_and_used_from_then_on(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    authorization_server.rotates_refresh_tokens = True
    build_token_provider(authorization_server, tmp_path / "tokens").get_token()
    token_file = tmp_path / "tokens" / "office.json"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(token_file.parent.stat().st_mode) == 0o700
    build_token_provider(authorization_server, tmp_path / "tokens").get_token()  # another process
    assert [form["refresh_token"] for form in authorization_server.list_request_forms()] == [
        "first-refresh",
        "refresh-1",
    ]
    assert "first-refresh" not in token_file.read_text()


def test_a_newly_configured_refresh_token_replaces_the_stored_one(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    authorization_server.rotates_refresh_tokens = True
    build_token_provider(authorization_server, tmp_path).get_token()
    authorization_server.refresh_tokens = ["signed-in-again"]
    assert build_token_provider(authorization_server, tmp_path, "signed-in-again").get_token() == "access-2"


def test_threads_never_use_a_refresh_token_twice(authorization_server: AuthorizationServer, tmp_path: Path) -> None:
    authorization_server.rotates_refresh_tokens = True
    tokens = [build_token_provider(authorization_server, tmp_path) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        access_tokens = list(pool.map(lambda token: token.get_token(), tokens))
    assert sorted(access_tokens) == sorted(f"access-{number}" for number in range(1, 13))


def test_a_new_refresh_token_that_cannot_be_written_is_not_lost(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    authorization_server.rotates_refresh_tokens = True
    token = build_token_provider(authorization_server, tmp_path)
    (tmp_path / "office.draft").mkdir()
    with pytest.raises(TransientError, match="cannot be written"):
        token.get_token()
    (tmp_path / "office.draft").rmdir()
    assert token.get_token() == "access-2"
    assert build_token_provider(authorization_server, tmp_path).get_token() == "access-3"


def test_after_a_withdrawn_permission_the_error_asks_to_sign_in_again(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    with pytest.raises(AccountError, match=r"mailbox 'office'.*invalid_grant.*sign in again") as error:
        build_token_provider(authorization_server, tmp_path, "revoked-refresh").get_token()
    assert "revoked-refresh" not in str(error.value)
    assert "our-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (Response.from_json({"error": "invalid_client"}, status=401), AccountError),
        (Response.from_json({"error": "invalid_scope"}, status=400), AccountError),
        (Response.from_json({"error": "temporarily_unavailable"}, status=400), TransientError),
        (Response.from_json({"error": "server_error"}, status=500), TransientError),
        (Response(429, headers={"Retry-After": "7"}), TransientError),
        (Response(404), ContractError),
        (Disconnect(), TransientError),
        (Response(302, headers={"Location": "https://elsewhere.example/"}), ContractError),
        (Response.from_json({"access_token": "x\r\ny"}), ContractError),
        (Response.from_json({"access_token": 5}), ContractError),
        (Response.from_json(["no"]), ContractError),
        (Response.from_json({"access_token": "x", "token_type": "mac"}), ContractError),
        (Response(200, b"<html>", {"Content-Type": "text/html"}), TransientError),  # from a captive portal
    ],
)
def test_other_responses_of_a_token_endpoint_become_our_errors(
    authorization_server: AuthorizationServer, tmp_path: Path, reply: Response | Disconnect, error_type: type[Exception]
) -> None:
    authorization_server.server.set_replies(reply)
    with pytest.raises(error_type) as error:
        build_token_provider(authorization_server, tmp_path).get_token()
    assert type(error.value) is error_type
    assert getattr(error.value, "retry_after", None) == (
        7.0 if isinstance(reply, Response) and reply.status == 429 else None
    )


@pytest.mark.parametrize("endpoint", ["http://login.example.org/token", "ftp://x/", "https://me@x/", "nonsense"])
def test_a_refresh_token_is_sent_only_over_https(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        OAuthTokenProvider("office", OAuthRegistration(endpoint, "our-app", "first-refresh"), tmp_path)


def create_account(server: DovecotServer, authorization_server: AuthorizationServer, directory: Path) -> Account:
    """Return the account of a new user, for whom the authorization server then issues tokens."""
    mail_user = server.create_account()
    mail_user.deliver_message(b"Subject: 1\r\n\r\nx\r\n")
    authorization_server.username = mail_user.username
    token = build_token_provider(authorization_server, directory)
    return Account(
        "office", mail_user.host, mail_user.tls_port, mail_user.username, token_provider=token, ca_file=server.ca_file
    )


def test_a_real_server_accepts_a_token(
    oauth_mail_server: DovecotServer, authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    mail_account = create_account(oauth_mail_server, authorization_server, tmp_path)
    for _ in range(2):
        with open_session(mail_account) as session:
            session.open_folder_read_only("INBOX")
            assert session.list_all_uids() == [1]
    assert authorization_server.issued_count == 1


def test_a_refused_token_is_renewed_once(
    oauth_mail_server: DovecotServer, authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    mail_account = create_account(oauth_mail_server, authorization_server, tmp_path)
    with open_session(mail_account):
        authorization_server.valid_tokens = set()  # it has expired early
    with open_session(mail_account) as session:
        assert session.list_folders()
    assert authorization_server.issued_count == 2


def test_a_mailbox_that_also_refuses_the_renewed_token_is_not_tried_again(
    oauth_mail_server: DovecotServer, authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    mail_account = create_account(oauth_mail_server, authorization_server, tmp_path)
    mail_account = replace(mail_account, username=oauth_mail_server.create_account().username)  # another user
    with pytest.raises(AccountError, match=r"mailbox 'office'.*and the sign-in") as error, open_session(mail_account):
        pass
    assert authorization_server.issued_count == 2
    assert "access-" not in str(error.value)


@pytest.mark.parametrize(
    "response", [b"* BYE Session expired, please login again.\r\n", b"{tag} NO [EXPIRED] too old\r\n"]
)
def test_a_token_that_expires_during_a_session_is_renewed_for_the_next_one(
    authorization_server: AuthorizationServer, tmp_path: Path, response: bytes
) -> None:
    capability_response = b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"
    with ScriptedImapServer(CAPABILITY=capability_response, SEARCH=response) as server:
        mail_account = Account(
            "office",
            "127.0.0.1",
            server.port,
            "me",
            "none",
            token_provider=build_token_provider(authorization_server, tmp_path),
        )
        with open_session(mail_account) as session:
            session.open_folder_read_write("INBOX")
            with pytest.raises(TransientError, match="access token has expired") as error:
                session.list_all_uids()
        with open_session(mail_account):
            pass
    assert error.value.retry_after == 0.0
    assert authorization_server.issued_count == 2


def test_no_secret_is_shown_or_stored(authorization_server: AuthorizationServer, tmp_path: Path) -> None:
    token = build_token_provider(authorization_server, tmp_path)
    token.get_token()
    mail_account = Account("office", "127.0.0.1", 1, "me", "none", token_provider=token)
    registration = OAuthRegistration("https://x.example/token", "our-app", "first-refresh", "our-secret")
    displayed = f"{token!r} {mail_account!r} {mail_account} {registration!r}"
    assert not any(secret in displayed for secret in ("first-refresh", "our-secret", "access-1"))
    assert not any("access-1" in file.read_text() for file in tmp_path.iterdir())


def test_an_invalid_token_file_is_a_configuration_error(
    authorization_server: AuthorizationServer, tmp_path: Path
) -> None:
    (tmp_path / "office.json").write_text(json.dumps(["not ours"]))
    with pytest.raises(ConfigurationError, match=r"office\.json"):
        build_token_provider(authorization_server, tmp_path).get_token()
