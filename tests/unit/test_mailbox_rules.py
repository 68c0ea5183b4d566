"""Rules about mails: the first that fits decides, and what decides nothing yet is opened first."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from invoices.settings.intake import Mailbox
from sources.mailbox.rules import Decision, Facts, comes_later, decide, digest, fields_needed

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
FACTS = Facts(
    sender="shop@supplier.example",
    recipients=["office@example.com", "ap+de@example.com"],
    subject="Rechnung GROSSE Straße 4711",
    received_at=NOW - dt.timedelta(days=10),
)
LEAVE, TAKE = {"otherwise": "leave"}, {"otherwise": "take"}


def mailbox(*rules: dict[str, Any], **settings: Any) -> Mailbox:
    return Mailbox(name="m", host="imap.example.com", username="u", password="p", rules=rules, **settings)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"sender": "*@supplier.example"}, True),
        ({"sender": "SHOP@*"}, True),
        ({"sender": "supplier.example"}, False),
        ({"recipient": "ap+*@example.com"}, True),
        ({"recipient": "ap"}, False),
        ({"subject": "*grosse strasse*"}, True),
        ({"subject": "rechnung"}, False),
        ({"subject": "rechnung*[0-9]"}, True),
        ({"younger_than_days": 11}, True),
        ({"younger_than_days": 10}, False),
        ({"older_than_days": 9.5}, True),
        ({"older_than_days": 10}, False),
        ({"older_than_days": 5, "younger_than_days": 15}, True),
        ({"sender": "*@supplier.example", "subject": "offer*"}, False),
        ({}, True),
    ],
)
def test_all_that_a_rule_says_must_fit(rule: dict[str, Any], fits: bool) -> None:
    assert decide(mailbox(rule, **LEAVE), FACTS, NOW) == Decision(fits, 1 if fits else None)


def test_the_first_rule_that_fits_decides() -> None:
    rules = [{"sender": "*@other.example"}, {"subject": "*4711", "take": False}, {"sender": "*"}]
    assert decide(mailbox(*rules), FACTS, NOW) == Decision(False, 2)
    assert decide(mailbox(*reversed(rules)), FACTS, NOW) == Decision(True, 1)


@pytest.mark.parametrize("otherwise", ["take", "leave"])
def test_where_no_rule_fits_the_mailbox_says_what_happens(otherwise: str) -> None:
    assert decide(mailbox({"subject": "x"}, otherwise=otherwise), FACTS, NOW) == Decision(otherwise == "take")


@pytest.mark.parametrize("rule", [{"sender": "*"}, {"subject": "*"}, {"recipient": "*"}, {"older_than_days": 1}])
def test_what_a_mail_does_not_tell_fits_nothing(rule: dict[str, Any]) -> None:
    assert decide(mailbox(rule, **LEAVE), Facts(), NOW) == Decision(False)


def test_file_names_decide_once_the_mail_is_open() -> None:
    settings = mailbox({"sender": "*@supplier.example", "attachment": "*.PDF"}, **LEAVE)
    assert decide(settings, FACTS, NOW) is None
    assert decide(settings, replace(FACTS, names=["a.xml", "b.pdf"]), NOW) == Decision(True, 1, "*.PDF")
    assert decide(settings, replace(FACTS, names=["a.xml"]), NOW) == Decision(False)
    assert decide(settings, replace(FACTS, sender="x@y.example"), NOW) == Decision(False)


def test_a_rule_that_leaves_by_file_name_narrows_nothing() -> None:
    settings = mailbox({"take": False, "attachment": "*.ics"})
    assert decide(settings, replace(FACTS, names=["a.ics"]), NOW) == Decision(False, 1)
    assert decide(settings, replace(FACTS, names=["a.pdf"]), NOW) == Decision(True)


@pytest.mark.parametrize(
    ("rules", "later"),
    [
        ([{"older_than_days": 20}], True),
        ([{"older_than_days": 5, "take": False}], False),
        ([{"younger_than_days": 20, "take": False}, {}], True),
        ([{"younger_than_days": 5}], False),
        ([{"older_than_days": 20, "sender": "*@other.example"}], False),
        ([{"older_than_days": 20, "attachment": "*.pdf"}], True),
        ([{"take": False, "sender": "*"}, {"older_than_days": 20}], False),
    ],
)
def test_a_mail_that_grows_into_a_rule_is_not_left_for_good(rules: list[dict[str, Any]], later: bool) -> None:
    assert comes_later(mailbox(*rules, **LEAVE), FACTS, NOW) is later


def test_a_mail_from_the_end_of_time_breaks_nothing() -> None:
    facts = replace(FACTS, received_at=dt.datetime.max.replace(tzinfo=dt.UTC))
    assert not comes_later(mailbox({"older_than_days": 3}, **LEAVE), facts, NOW)


def test_only_fields_that_a_rule_looks_at_are_needed() -> None:
    assert fields_needed(mailbox({"younger_than_days": 3}, {"attachment": "*.pdf"})) == ()
    assert fields_needed(mailbox({"recipient": "a"}, {"sender": "b"}, {"sender": "c"})) == (
        "TO", "CC", "FROM", "SUBJECT", "MESSAGE-ID",
    )  # fmt: skip


def test_the_digest_is_of_the_rules_alone() -> None:
    rule = {"sender": "*@supplier.example"}
    assert digest(mailbox(rule)) == digest(mailbox(rule, after="seen", megabytes=10))
    others = [mailbox(), mailbox(rule, **LEAVE), mailbox({**rule, "take": False}), mailbox(rule, rule)]
    assert len({digest(one) for one in [mailbox(rule), *others]}) == 5
