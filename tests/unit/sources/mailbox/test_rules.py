"""Rules about mails: the first that fits decides, and what decides nothing yet is opened first."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from invoices.settings.sources import MailboxSettings
from sources.mailbox.rules import (
    MailFacts,
    RuleDecision,
    apply_rules,
    compute_rules_digest,
    is_taken_when_older,
    list_required_header_fields,
)

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
FACTS = MailFacts(
    sender="shop@supplier.example",
    recipients=["office@example.com", "ap+de@example.com"],
    subject="Rechnung GROSSE Straße 4711",
    received_at=NOW - dt.timedelta(days=10),
)
LEAVE, TAKE = {"otherwise": "leave"}, {"otherwise": "take"}


def build_settings(*rules: dict[str, Any], **settings: Any) -> MailboxSettings:
    return MailboxSettings(name="m", host="imap.example.com", username="u", password="p", rules=rules, **settings)


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
    assert apply_rules(build_settings(rule, **LEAVE), FACTS, NOW) == RuleDecision(fits, 1 if fits else None)


def test_the_first_rule_that_fits_decides() -> None:
    rules = [{"sender": "*@other.example"}, {"subject": "*4711", "take": False}, {"sender": "*"}]
    assert apply_rules(build_settings(*rules), FACTS, NOW) == RuleDecision(False, 2)
    assert apply_rules(build_settings(*reversed(rules)), FACTS, NOW) == RuleDecision(True, 1)


@pytest.mark.parametrize("otherwise", ["take", "leave"])
def test_where_no_rule_fits_the_mailbox_says_what_happens(otherwise: str) -> None:
    assert apply_rules(build_settings({"subject": "x"}, otherwise=otherwise), FACTS, NOW) == RuleDecision(
        otherwise == "take"
    )


@pytest.mark.parametrize("rule", [{"sender": "*"}, {"subject": "*"}, {"recipient": "*"}, {"older_than_days": 1}])
def test_what_a_mail_does_not_tell_fits_nothing(rule: dict[str, Any]) -> None:
    assert apply_rules(build_settings(rule, **LEAVE), MailFacts(), NOW) == RuleDecision(False)


def test_file_names_decide_once_the_mail_is_open() -> None:
    settings = build_settings({"sender": "*@supplier.example", "attachment": "*.PDF"}, **LEAVE)
    assert apply_rules(settings, FACTS, NOW) is None
    assert apply_rules(settings, replace(FACTS, file_names=["a.xml", "b.pdf"]), NOW) == RuleDecision(True, 1, "*.PDF")
    assert apply_rules(settings, replace(FACTS, file_names=["a.xml"]), NOW) == RuleDecision(False)
    assert apply_rules(settings, replace(FACTS, sender="x@y.example"), NOW) == RuleDecision(False)


def test_a_rule_that_leaves_by_file_name_narrows_nothing() -> None:
    settings = build_settings({"take": False, "attachment": "*.ics"})
    assert apply_rules(settings, replace(FACTS, file_names=["a.ics"]), NOW) == RuleDecision(False, 1)
    assert apply_rules(settings, replace(FACTS, file_names=["a.pdf"]), NOW) == RuleDecision(True)


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
    assert is_taken_when_older(build_settings(*rules, **LEAVE), FACTS, NOW) is later


def test_a_mail_from_the_end_of_time_breaks_nothing() -> None:
    facts = replace(FACTS, received_at=dt.datetime.max.replace(tzinfo=dt.UTC))
    assert not is_taken_when_older(build_settings({"older_than_days": 3}, **LEAVE), facts, NOW)


def test_only_fields_that_a_rule_looks_at_are_needed() -> None:
    assert list_required_header_fields(build_settings({"younger_than_days": 3}, {"attachment": "*.pdf"})) == ()
    assert list_required_header_fields(build_settings({"recipient": "a"}, {"sender": "b"}, {"sender": "c"})) == (
        "TO", "CC", "FROM", "SUBJECT", "MESSAGE-ID",
    )  # fmt: skip


def test_the_digest_is_of_the_rules_alone() -> None:
    rule = {"sender": "*@supplier.example"}
    assert compute_rules_digest(build_settings(rule)) == compute_rules_digest(
        build_settings(rule, after="seen", megabytes=10)
    )
    others = [
        build_settings(),
        build_settings(rule, **LEAVE),
        build_settings({**rule, "take": False}),
        build_settings(rule, rule),
    ]
    assert len({compute_rules_digest(mailbox_settings) for mailbox_settings in [build_settings(rule), *others]}) == 5
