"""Access tokens for a mailbox: asked for, kept, renewed; and taken or refused by a real Dovecot that asks who it is."""

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
from sources.mailbox.connection import open_session
from sources.mailbox.oauth import RefreshedToken, Registration
from tests.integration import dovecot_server
from tests.integration.dovecot_server import DovecotServer
from tests.integration.scripted_imap import ScriptedImap
from tests.integration.scripted_server import Answer, Drop, ScriptedServer, Seen

PASSDB = """
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %s
}
"""
CONFIGURATION = """
tokeninfo_url = %s/tokeninfo?access_token=
username_attribute = email
force_introspection = no
"""


@dataclass
class Office:
    """An authorization server: gives numbered access tokens for the refresh tokens it knows, and tells who has them."""

    server: ScriptedServer
    username: str = "me@example.org"
    refresh_tokens: list[str] = field(default_factory=lambda: ["first-refresh"])
    good: set[str] = field(default_factory=set)
    given: int = 0
    rotates: bool = False

    def answer(self, seen: Seen) -> Answer:
        if seen.path == "/tokeninfo":
            token = seen.query.get("access_token", "")
            return Answer.json({"email": self.username}) if token in self.good else Answer.json({}, status=401)
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        if form["refresh_token"] not in self.refresh_tokens:
            return Answer.json({"error": "invalid_grant", "error_description": "Token has been revoked."}, status=400)
        self.given += 1
        self.good = {f"access-{self.given}"}
        told = {"access_token": f"access-{self.given}", "token_type": "Bearer", "expires_in": 3600}
        if self.rotates:
            self.refresh_tokens = [f"refresh-{self.given}"]
            told["refresh_token"] = self.refresh_tokens[0]
        return Answer.json(told)

    def forms(self) -> list[dict[str, str]]:
        bodies = [parse_qs(seen.body.decode()) for seen in self.server.seen if seen.method == "POST"]
        return [{name: values[0] for name, values in body.items()} for body in bodies]


@pytest.fixture(scope="module")
def office_server() -> Iterator[ScriptedServer]:
    """Where every office of these tests is."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def office(office_server: ScriptedServer) -> Office:
    """An authorization server on the loopback, new."""
    office_server.seen.clear()
    made = Office(office_server)
    office_server.react(made.answer)
    return made


@pytest.fixture(scope="module")
def guarded(
    dovecot_program: Path, office_server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DovecotServer]:
    """A Dovecot that takes access tokens, and asks the office whose they are."""
    configuration = tmp_path_factory.mktemp("oauth") / "oauth2.conf"
    configuration.write_text(CONFIGURATION % office_server.url)
    with dovecot_server.running(dovecot_program, PASSDB % configuration) as server:
        yield server


def token_of(office: Office, folder: Path, refresh_token: str = "first-refresh") -> RefreshedToken:  # noqa: S107  a fake
    registration = Registration(f"{office.server.url}/token", "our-app", refresh_token, "our-secret", "mail")
    return RefreshedToken("office", registration, folder)


def test_a_token_is_asked_for_once_and_used_until_shortly_before_its_end(office: Office, tmp_path: Path) -> None:
    now = [0.0]
    registration = Registration(f"{office.server.url}/token", "our-app", "first-refresh", "our-secret", "mail")
    token = RefreshedToken("office", registration, tmp_path, clock=lambda: now[0])
    assert [token.current(), token.current()] == ["access-1", "access-1"]
    now[0] = 3539.0
    assert token.current() == "access-1"
    now[0] = 3541.0
    assert token.current() == "access-2"
    assert office.forms()[0] == {
        "grant_type": "refresh_token", "refresh_token": "first-refresh", "client_id": "our-app",
        "client_secret": "our-secret", "scope": "mail",
    }  # fmt: skip


def test_only_the_token_that_was_refused_is_forgotten(office: Office, tmp_path: Path) -> None:
    token = token_of(office, tmp_path)
    first = token.current()
    token.discard(first)
    assert token.current() == "access-2"
    token.discard(first)  # somebody else comes late
    assert token.current() == "access-2"


def test_a_new_refresh_token_is_kept_for_us_alone_and_used_from_then_on(office: Office, tmp_path: Path) -> None:
    office.rotates = True
    token_of(office, tmp_path / "tokens").current()
    kept = tmp_path / "tokens" / "office.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    token_of(office, tmp_path / "tokens").current()  # another process
    assert [form["refresh_token"] for form in office.forms()] == ["first-refresh", "refresh-1"]
    assert "first-refresh" not in kept.read_text()


def test_a_newly_configured_refresh_token_wins_over_the_kept_one(office: Office, tmp_path: Path) -> None:
    office.rotates = True
    token_of(office, tmp_path).current()
    office.refresh_tokens = ["signed-in-again"]
    assert token_of(office, tmp_path, "signed-in-again").current() == "access-2"


def test_nobody_spends_a_refresh_token_that_another_has_just_spent(office: Office, tmp_path: Path) -> None:
    office.rotates = True
    tokens = [token_of(office, tmp_path) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda token: token.current(), tokens))
    assert sorted(given) == sorted(f"access-{number}" for number in range(1, 13))


def test_a_new_refresh_token_that_cannot_be_written_down_yet_is_not_lost(office: Office, tmp_path: Path) -> None:
    office.rotates = True
    token = token_of(office, tmp_path)
    (tmp_path / "office.draft").mkdir()
    with pytest.raises(TransientError, match="cannot be kept"):
        token.current()
    (tmp_path / "office.draft").rmdir()
    assert token.current() == "access-2"
    assert token_of(office, tmp_path).current() == "access-3"


def test_a_withdrawn_permission_asks_to_sign_in_again(office: Office, tmp_path: Path) -> None:
    with pytest.raises(AccountError, match=r"mailbox 'office'.*invalid_grant.*sign in again") as error:
        token_of(office, tmp_path, "revoked-refresh").current()
    assert "revoked-refresh" not in str(error.value)
    assert "our-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Answer.json({"error": "invalid_client"}, status=401), AccountError),
        (Answer.json({"error": "invalid_scope"}, status=400), AccountError),
        (Answer.json({"error": "temporarily_unavailable"}, status=400), TransientError),
        (Answer.json({"error": "server_error"}, status=500), TransientError),
        (Answer(429, headers={"Retry-After": "7"}), TransientError),
        (Answer(404), ContractError),
        (Drop(), TransientError),
        (Answer(302, headers={"Location": "https://elsewhere.example/"}), ContractError),
        (Answer.json({"access_token": "x\r\ny"}), ContractError),
        (Answer.json({"access_token": 5}), ContractError),
        (Answer.json(["no"]), ContractError),
        (Answer.json({"access_token": "x", "token_type": "mac"}), ContractError),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), TransientError),  # of a network that wants a sign-in
    ],
)
def test_what_else_a_token_endpoint_may_say(
    office: Office, tmp_path: Path, step: Answer | Drop, kind: type[Exception]
) -> None:
    office.server.play(step)
    with pytest.raises(kind) as error:
        token_of(office, tmp_path).current()
    assert type(error.value) is kind
    assert getattr(error.value, "retry_after", None) == (
        7.0 if isinstance(step, Answer) and step.status == 429 else None
    )


@pytest.mark.parametrize("endpoint", ["http://login.example.org/token", "ftp://x/", "https://me@x/", "nonsense"])
def test_a_refresh_token_goes_over_https_alone(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        RefreshedToken("office", Registration(endpoint, "our-app", "first-refresh"), tmp_path)


def account(server: DovecotServer, office: Office, folder: Path) -> Account:
    """Return an account of a new user of the server, who is the one whose tokens the office gives."""
    user = server.account()
    user.deliver(b"Subject: 1\r\n\r\nx\r\n")
    office.username = user.username
    token = token_of(office, folder)
    return Account("office", user.host, user.tls_port, user.username, token=token, ca_file=server.ca_file)


def test_a_real_server_opens_the_mailbox_for_a_token(guarded: DovecotServer, office: Office, tmp_path: Path) -> None:
    mine = account(guarded, office, tmp_path)
    for _ in range(2):
        with open_session(mine) as session:
            session.examine("INBOX")
            assert session.all_uids() == [1]
    assert office.given == 1


def test_a_token_that_the_server_refuses_is_renewed_once(
    guarded: DovecotServer, office: Office, tmp_path: Path
) -> None:
    mine = account(guarded, office, tmp_path)
    with open_session(mine):
        office.good = set()  # it has expired early
    with open_session(mine) as session:
        assert session.folders()
    assert office.given == 2


def test_a_mailbox_that_refuses_the_renewed_token_too_is_not_asked_again(
    guarded: DovecotServer, office: Office, tmp_path: Path
) -> None:
    mine = replace(account(guarded, office, tmp_path), username=guarded.account().username)  # of somebody else
    with pytest.raises(AccountError, match=r"mailbox 'office'.*and the sign-in") as error, open_session(mine):
        pass
    assert office.given == 2
    assert "access-" not in str(error.value)


@pytest.mark.parametrize(
    "words", [b"* BYE Session expired, please login again.\r\n", b"{tag} NO [EXPIRED] too old\r\n"]
)
def test_a_token_that_ends_in_the_middle_is_renewed_for_the_next_session(
    office: Office, tmp_path: Path, words: bytes
) -> None:
    offers = b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"
    with ScriptedImap(CAPABILITY=offers, SEARCH=words) as server:
        mine = Account("office", "127.0.0.1", server.port, "me", "none", token=token_of(office, tmp_path))
        with open_session(mine) as session:
            session.select("INBOX")
            with pytest.raises(TransientError, match="access token is over") as error:
                session.all_uids()
        with open_session(mine):
            pass
    assert error.value.retry_after == 0.0
    assert office.given == 2


def test_nothing_secret_is_shown_or_kept(office: Office, tmp_path: Path) -> None:
    token = token_of(office, tmp_path)
    token.current()
    mine = Account("office", "127.0.0.1", 1, "me", "none", token=token)
    registration = Registration("https://x.example/token", "our-app", "first-refresh", "our-secret")
    shown = f"{token!r} {mine!r} {mine} {registration!r}"
    assert not any(secret in shown for secret in ("first-refresh", "our-secret", "access-1"))
    assert not any("access-1" in file.read_text() for file in tmp_path.iterdir())


def test_a_kept_file_that_nobody_can_read_is_told(office: Office, tmp_path: Path) -> None:
    (tmp_path / "office.json").write_text(json.dumps(["not ours"]))
    with pytest.raises(ConfigurationError, match=r"office\.json"):
        token_of(office, tmp_path).current()
