"""The header of a mail: rows B-11, B-12 and B-19 to B-21 of docs/bad-inputs.md."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.opened_container import MailHeader
from tests.unit.documents.containers.mail_builder import DATE_HEADER


def parse_header(header_block: bytes) -> tuple[MailHeader, set[str]]:
    opened_mail, _ = open_mail(header_block + b"\r\n\r\nHello")
    assert opened_mail.header is not None
    return opened_mail.header, {flag.rule_id for flag in opened_mail.flags}


def test_header_fields_are_decoded() -> None:
    head = (
        b"Authentication-Results: mx.us.example; dkim=pass\r\nAuthentication-Results: other.example;\r\n\tspf=fail\r\n"
        b"From: =?utf-8?q?M=C3=BCller?= <Billing@Acme.EXAMPLE>\r\n"
        b"To: a@us.example, B <b@us.example>\r\nCc: c@us.example\r\n"
        b"Subject: =?utf-8?b?UmVjaG51bmc=?=\r\n =?utf-8?q?_M=C3=A4rz?=\r\nMessage-ID: <1@acme.example>\r\n"
    )
    header, flags = parse_header(head + DATE_HEADER[:-2])
    assert header == MailHeader(
        message_id="<1@acme.example>",
        sender="billing@acme.example",
        recipients=("a@us.example", "b@us.example", "c@us.example"),
        subject="Rechnung März",
        sent_at="2026-01-05T09:00:00+00:00",
        authentication_results=["mx.us.example; dkim=pass", "other.example; spf=fail"],
    )
    assert flags == set()


@pytest.mark.parametrize(
    ("head", "sender"),
    [
        pytest.param(b"From: " + b"a@b.example, " * 19_000, "a@b.example", id="B-11-long-list"),
        pytest.param(b"From: " + b"(" * 20_000 + b"a@b.example", None, id="B-12-nested-comments"),
        pytest.param(b"From: " + b'"\\' * 5_000, None, id="B-12-quotes"),
        pytest.param(b"From: undisclosed", "undisclosed", id="no-domain"),
        pytest.param(b"To: x@y.example", None, id="no-From"),
    ],
)
def test_a_sender_is_parsed_within_bounds_or_is_unknown_and_flagged(head: bytes, sender: str | None) -> None:
    header, flags = parse_header(DATE_HEADER + head)
    assert header.sender == sender
    assert ("MAIL-FROM" in flags) == (sender != "a@b.example")


def test_b_11_an_endless_list_of_senders_exceeds_the_limit() -> None:
    opened_mail, _ = open_mail(b"From: " + b"a@b.example, " * 32_000 + b"\r\n\r\n")
    assert opened_mail.reason_code == "mail_limits"


@pytest.mark.parametrize(
    "senders",
    [
        pytest.param(b"From: x@evil.example\r\nFrom: ceo@corp.example", id="B-19-two-From"),
        pytest.param(b'From: "ceo@corp.example" <X@evil.example>', id="B-19-display-name"),
        pytest.param(b"From: =?utf-8?q?ceo=40corp.example?= <x@evil.example>", id="B-19-encoded-display-name"),
    ],
)
def test_a_deceptive_sender_is_flagged_and_the_real_address_counts(senders: bytes) -> None:
    header, flags = parse_header(DATE_HEADER + senders)
    assert (header.sender, flags) == ("x@evil.example", {"MAIL-FROM"})


def test_a_display_name_with_an_address_of_the_same_domain_is_not_flagged() -> None:
    assert parse_header(DATE_HEADER + b'From: "x@Acme.example" <billing@acme.example>')[1] == set()


@pytest.mark.parametrize(
    ("reply_to", "flags"),
    [(b"other@acme.example", set()), (b"x@evil.example", {"MAIL-REPLY-TO"})],
)
def test_replies_to_another_domain_are_flagged(reply_to: bytes, flags: set[str]) -> None:
    header, flag_ids = parse_header(DATE_HEADER + b"From: billing@acme.example\r\nReply-To: " + reply_to)
    assert (header.reply_to, flag_ids) == (reply_to.decode(), flags)


@pytest.mark.parametrize(
    ("written", "message_id"),
    [
        pytest.param(b"", None, id="B-20-missing"),
        pytest.param(b"Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n", "<a@b>", id="B-20-twice"),
        pytest.param(b'Message-ID: =?utf-8?q?=3Ca"=0D=0A1_LOGOUT=3E?=\r\n', '<a" 1 LOGOUT>', id="B-20-line-ends"),
        pytest.param(b"Message-ID: <a\x00b>\r\n", "<a b>", id="B-20-NUL"),
        pytest.param(b"Message-ID: " + b"x" * 9_000 + b"\r\n", "x" * 1_999, id="B-20-long"),
    ],
)
def test_a_message_id_is_recorded_on_one_line(written: bytes, message_id: str | None) -> None:
    recorded = parse_header(written + DATE_HEADER + b"From: a@b.example")[0].message_id
    assert (recorded or "")[:1_999] == (message_id or "")
    assert recorded is None or len(recorded) <= 2_000


@pytest.mark.parametrize(
    "date",
    [
        pytest.param(b"", id="B-21-missing"),
        pytest.param(b"Date: yesterday\r\n", id="B-21-invalid"),
        pytest.param(b"Date: Fri, 31 Dec 9999 23:59:59 -1200\r\n", id="B-21-year-9999"),
        pytest.param(b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n", id="B-21-absurd"),
        pytest.param(b"Date: Mon, 5 Jan 2026 10:00:00 +999999999\r\n", id="B-21-zone"),
        pytest.param(f"Date: 1 Jan {datetime.now(UTC).year + 2} 10:00:00 +0000\r\n".encode(), id="B-21-future"),
    ],
)
def test_an_impossible_date_is_none_and_flagged(date: bytes) -> None:
    header, flags = parse_header(date + b"From: a@b.example")
    assert (header.sent_at, flags) == (None, {"MAIL-DATE"})


def test_a_header_contains_no_lone_surrogates() -> None:
    header, _ = parse_header(DATE_HEADER + b"From: a@b.example\r\nSubject: =?utf-7?q?+2AA-?= \xff")
    assert header.subject is not None
    header.subject.encode("utf-8")


def test_authentication_results_are_bounded_in_number_and_length() -> None:
    header, _ = parse_header(
        DATE_HEADER + b"From: a@b.example" + b"\r\nAuthentication-Results: x; " * 50 + b"y" * 9_000
    )
    assert len(header.authentication_results) == 8
    assert max(map(len, header.authentication_results)) <= 2_000
