"""Servers that lie, throttle, drip, flood, downgrade or disconnect: a session soon ends with one of our errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from invoices.errors import AccountError, ConfigurationError, ContractError, InvoicesError, TransientError
from sources.mailbox.account import MEGABYTE, Account, ImapLimits, Security
from sources.mailbox.mailbox_session import MailboxSession, open_session
from tests.servers.dovecot_server import DovecotServer
from tests.servers.scripted_imap_server import DisconnectingProxy, ScriptedImapServer

PATIENT_LIMITS = ImapLimits(command_seconds=60.0, read_seconds=60.0, max_message_bytes=MEGABYTE)
IMPATIENT_LIMITS = replace(PATIENT_LIMITS, command_seconds=0.5)


def build_account(port: int, security: Security = "none") -> Account:
    return Account("office", "127.0.0.1", port, "me@example.org", security, "sesame-9")


def get_session_error(
    server: ScriptedImapServer, use: Callable[[MailboxSession], object], limits: ImapLimits = PATIENT_LIMITS
) -> InvoicesError:
    """Return the error that using a session with this server ends in."""

    def run_session() -> None:
        with open_session(build_account(server.port), limits) as session:
            session.open_folder_read_write("INBOX")
            use(session)

    with server, pytest.raises(InvoicesError) as error_info:
        run_session()
    assert "sesame-9" not in str(error_info.value)
    return error_info.value


def fetch_all_bodies(session: MailboxSession) -> object:
    return list(session.fetch_bodies(session.list_all_uids()))


def build_server_with_response(command: str, response: bytes) -> ScriptedImapServer:
    return ScriptedImapServer(**{command: response})


@pytest.mark.parametrize(
    ("response_text", "error_type"),
    [
        (b"NO [LIMIT] slow down", TransientError),
        (b"NO [UNAVAILABLE] backend", TransientError),
        (b"NO [INUSE] locked", TransientError),
        (b"NO [THROTTLED] busy", TransientError),
        (b"NO [ALERT] Too many simultaneous connections. (Failure)", TransientError),
        (b"NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", TransientError),
        (b"NO [UNAVAILABLE] Temporary authentication failure.", TransientError),
        (b"NO [AUTHENTICATIONFAILED] Invalid credentials, try again", AccountError),
        (b"NO LOGIN failed.", AccountError),
        (b"NO [ALERT] Application-specific password required", AccountError),
        (b"BAD what is that", ContractError),
    ],
)
def test_a_refused_login_differs_from_a_busy_server_and_is_never_repeated(
    response_text: bytes, error_type: type
) -> None:
    server = build_server_with_response("AUTHENTICATE", b"{tag} " + response_text + b"\r\n")
    assert type(get_session_error(server, fetch_all_bodies)) is error_type
    assert sum(b"AUTHENTICATE" in line for line in server.received_lines) == 1


def test_a_pause_that_the_server_requests_is_respected() -> None:
    response = b"{tag} BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds\r\n"
    error = get_session_error(build_server_with_response("SEARCH", response), fetch_all_bodies)
    assert isinstance(error, TransientError)
    assert error.retry_after == pytest.approx(92.415)


@pytest.mark.parametrize("greeting", [b"* BYE too busy\r\n", b"", b"* OK"])
def test_a_server_that_disconnects_at_once_is_a_transient_error(greeting: bytes) -> None:
    server = ScriptedImapServer(greeting)
    if not greeting.endswith(b"\n"):
        server.handle_connection = lambda line: line.sendall(greeting)  # type: ignore[method-assign]  # and closes
    assert isinstance(get_session_error(server, fetch_all_bodies), TransientError)


@pytest.mark.parametrize("command", ["SELECT", "SEARCH", "FETCH", "STORE"])
def test_a_bye_in_the_middle_is_a_transient_error(command: str) -> None:
    responses = {
        "SEARCH": b"* SEARCH 1\r\n{tag} OK done\r\n",
        "FETCH": b"* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n{tag} OK done\r\n",
    }
    server = ScriptedImapServer(**{**responses, command: b"* BYE going down\r\n"})
    error = get_session_error(server, lambda session: (fetch_all_bodies(session), session.mark_seen([1])))
    assert isinstance(error, TransientError)
    assert "going down" in str(error)


def test_a_warning_before_the_connection_breaks_is_not_a_refusal() -> None:
    server = build_server_with_response("STORE", b"* NO [ALERT] the disk is nearly full\r\n{close}")
    error = get_session_error(server, lambda session: session.mark_seen([1]))
    assert isinstance(error, TransientError)


def test_a_preauth_greeting_is_rejected_without_a_login() -> None:
    server = ScriptedImapServer(b"* PREAUTH welcome\r\n")
    error = get_session_error(server, fetch_all_bodies)
    assert isinstance(error, ContractError)
    assert "somebody is logged in already" in str(error)
    assert server.received_lines == [line for line in server.received_lines if line.endswith(b"CAPABILITY")]


@pytest.mark.parametrize(
    "responses",
    [
        {},
        {
            "CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n{tag} OK done\r\n",
            "STARTTLS": b"{tag} NO not now\r\n",
        },
        {
            "CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n{tag} OK done\r\n",
            "STARTTLS": b"{tag} BAD\r\n",
        },
        {
            "CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n{tag} OK done\r\n",
            "STARTTLS": b"{tag} OK done\r\n* OK\r\n",
        },
    ],
)
def test_without_starttls_no_credential_is_sent(responses: dict[str, bytes]) -> None:
    server = ScriptedImapServer(**responses)
    error_type = InvoicesError if responses else ConfigurationError
    with server, pytest.raises(error_type), open_session(build_account(server.port, "starttls"), IMPATIENT_LIMITS):
        pass
    assert not any(b"AUTHENTICATE" in line or b"LOGIN" in line for line in server.received_lines)


def test_no_password_is_sent_to_a_server_that_disables_login() -> None:
    server = build_server_with_response("CAPABILITY", b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n{tag} OK done\r\n")
    assert isinstance(get_session_error(server, fetch_all_bodies), ConfigurationError)
    assert not any(b"LOGIN " in line for line in server.received_lines)


def test_security_none_is_refused_for_another_machine() -> None:
    with (
        pytest.raises(ConfigurationError, match="only for this machine"),
        open_session(replace(build_account(1), host="imap.example.org")),
    ):
        pass


@pytest.mark.parametrize("slow_command", ["AUTHENTICATE", "SELECT", "SEARCH", "FETCH"])
def test_a_dripping_response_ends_at_the_deadline(slow_command: str) -> None:
    server = ScriptedImapServer(slow_command=slow_command, SEARCH=b"* SEARCH 1\r\n{tag} OK done\r\n")
    error = get_session_error(server, fetch_all_bodies, IMPATIENT_LIMITS)
    assert isinstance(error, TransientError)
    assert "the server did not complete" in str(error)


FLOODING_RESPONSES = {
    "a literal larger than any message": ("FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE 9 BODY[] {4000000000}\r\n"),
    "a line without an end": ("SEARCH", b"* SEARCH " + b"1 " * (9 * MEGABYTE)),
    "endless unsolicited lines": ("SEARCH", b"* 1 EXISTS\r\n" * 125_000),
}


@pytest.mark.parametrize("flood", FLOODING_RESPONSES)
def test_a_flooding_response_is_not_read_to_the_end(flood: str) -> None:
    command, line = FLOODING_RESPONSES[flood]
    server = ScriptedImapServer(**{"SEARCH": b"* SEARCH 1\r\n{tag} OK done\r\n", command: line})
    error = get_session_error(server, fetch_all_bodies)
    assert isinstance(error, ContractError)
    assert "more data than was requested" in str(error)


NONSENSE_RESPONSES = {
    "no UIDVALIDITY": ("SELECT", b"* 3 EXISTS\r\n{tag} OK [READ-WRITE] done\r\n"),
    "not a number": ("SEARCH", b"* SEARCH one two\r\n{tag} OK done\r\n"),
    "an invalid UID": ("SEARCH", b"* SEARCH 99999999999\r\n{tag} OK done\r\n"),
    "not IMAP": ("SEARCH", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a tag never used": ("SEARCH", b"XYZ9 OK\r\n"),
}


@pytest.mark.parametrize("nonsense", NONSENSE_RESPONSES)
def test_an_invalid_response_is_a_contract_error(nonsense: str) -> None:
    command, line = NONSENSE_RESPONSES[nonsense]
    server = ScriptedImapServer(**{"SEARCH": b"* SEARCH 1\r\n{tag} OK done\r\n", command: line})
    assert isinstance(get_session_error(server, fetch_all_bodies), ContractError)


def test_a_range_of_all_uids_is_rejected() -> None:
    esearch = b"{tag} OK [CAPABILITY IMAP4rev1 ESEARCH] welcome\r\n"
    server = ScriptedImapServer(
        AUTHENTICATE=esearch, SEARCH=b'* ESEARCH (TAG "x") UID ALL 1:4294967295\r\n{tag} OK done\r\n'
    )
    assert "more messages than the folder contains (3)" in str(get_session_error(server, fetch_all_bodies))


def test_unsolicited_data_of_other_messages_is_ignored() -> None:
    fetch = (
        b"* 2 FETCH (UID 2 RFC822.SIZE 3 BODY[] {3}\r\nold)\r\n* 1 FETCH (UID 1 RFC822.SIZE 3 BODY[] {3}\r\nnew)\r\n"
    )
    with (
        ScriptedImapServer(FETCH=fetch + b"{tag} OK done\r\n") as server,
        open_session(build_account(server.port)) as session,
    ):
        session.open_folder_read_only("INBOX")
        assert list(session.fetch_bodies([1])) == [(1, b"new")]


@pytest.mark.parametrize("sign", ["\r", "\n", "\0", "\r\nA1 DELETE INBOX"])
def test_no_argument_starts_a_command(sign: str) -> None:
    for changed in (
        replace(build_account(1), username=f"me{sign}"), replace(build_account(1), password=f"x{sign}"),
        replace(build_account(1), host=f"localhost{sign}"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match="control character"), open_session(changed):
            pass
    with ScriptedImapServer() as server, open_session(build_account(server.port)) as session:
        session.open_folder_read_write("INBOX")
        for use in (
            session.open_folder_read_only,
            lambda text: session.move_messages([1], text),
            lambda text: session.set_flag([1], text),
        ):
            with pytest.raises(ConfigurationError):
                use(f"Done{sign}")
        with pytest.raises(ConfigurationError, match="nothing was sent"):
            session._client.raw_client.uid("STORE", "1", f"+FLAGS{sign}", "(x)")
        assert not any(b"DELETE" in line for line in server.received_lines)


CUT_CONDITIONS = {
    "the greeting": lambda _sent, received: bool(received),
    "LOGIN": lambda sent, _received: b"AUTHENTICATE" in sent,
    "SELECT": lambda sent, _received: b"SELECT" in sent,
    "SEARCH": lambda sent, _received: b"SEARCH" in sent,
    "a literal": lambda _sent, received: re.search(rb"BODY\[\] \{\d+\}\r\n", received) is not None,
    "STORE": lambda sent, _received: b"STORE" in sent,
}


@pytest.mark.parametrize(
    ("cut", "is_silent"), [*((cut, False) for cut in CUT_CONDITIONS), ("the greeting", True), ("a literal", True)]
)
def test_a_broken_connection_yields_no_partial_message(dovecot: DovecotServer, cut: str, is_silent: bool) -> None:
    user = dovecot.create_account()
    user.deliver_message(b"Subject: 1\r\n\r\n" + b"x" * 300_000)
    bodies: list[tuple[int, bytes]] = []

    def run_session(port: int) -> None:
        account = Account("office", "127.0.0.1", port, user.username, "none", user.password)
        with open_session(
            account, replace(PATIENT_LIMITS, command_seconds=2.0 if is_silent else 60.0, min_bytes_per_second=MEGABYTE)
        ) as session:
            session.open_folder_read_write("INBOX")
            bodies.extend(session.fetch_bodies(session.list_all_uids()))
            session.mark_seen([1])

    with (
        DisconnectingProxy(user.port, CUT_CONDITIONS[cut], is_silent=is_silent) as proxy,
        pytest.raises(TransientError),
    ):
        run_session(proxy.port)
    assert [len(content) for _, content in bodies] == ([300_014] if cut == "STORE" else [])


def test_a_session_that_failed_is_closed() -> None:
    with ScriptedImapServer(SEARCH=b"* BYE\r\n") as server, open_session(build_account(server.port)) as session:
        session.open_folder_read_write("INBOX")
        with pytest.raises(TransientError, match="closed the connection"):
            session.list_all_uids()
        with pytest.raises(TransientError, match="the session is closed"):
            session.list_all_uids()
