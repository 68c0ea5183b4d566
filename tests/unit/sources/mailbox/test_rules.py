"""Rules on mails: the first that matches decides; one on file names decides after the mail is opened."""

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
    ("rule", "is_match"),
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
def test_all_conditions_of_a_rule_must_match(rule: dict[str, Any], is_match: bool) -> None:
    assert apply_rules(build_settings(rule, **LEAVE), FACTS, NOW) == RuleDecision(is_match, 1 if is_match else None)


def test_the_first_matching_rule_decides() -> None:
    rules = [{"sender": "*@other.example"}, {"subject": "*4711", "take": False}, {"sender": "*"}]
    assert apply_rules(build_settings(*rules), FACTS, NOW) == RuleDecision(False, 2)
    assert apply_rules(build_settings(*reversed(rules)), FACTS, NOW) == RuleDecision(True, 1)


@pytest.mark.parametrize("otherwise", ["take", "leave"])
def test_without_a_matching_rule_otherwise_decides(otherwise: str) -> None:
    assert apply_rules(build_settings({"subject": "x"}, otherwise=otherwise), FACTS, NOW) == RuleDecision(
        otherwise == "take"
    )


@pytest.mark.parametrize("rule", [{"sender": "*"}, {"subject": "*"}, {"recipient": "*"}, {"older_than_days": 1}])
def test_a_missing_value_matches_no_condition(rule: dict[str, Any]) -> None:
    assert apply_rules(build_settings(rule, **LEAVE), MailFacts(), NOW) == RuleDecision(False)


def test_file_names_decide_after_the_mail_is_opened() -> None:
    settings = build_settings({"sender": "*@supplier.example", "attachment": "*.PDF"}, **LEAVE)
    assert apply_rules(settings, FACTS, NOW) is None
    assert apply_rules(settings, replace(FACTS, file_names=["a.xml", "b.pdf"]), NOW) == RuleDecision(True, 1, "*.PDF")
    assert apply_rules(settings, replace(FACTS, file_names=["a.xml"]), NOW) == RuleDecision(False)
    assert apply_rules(settings, replace(FACTS, sender="x@y.example"), NOW) == RuleDecision(False)


def test_a_skipping_rule_on_file_names_does_not_select_attachments() -> None:
    settings = build_settings({"take": False, "attachment": "*.ics"})
    assert apply_rules(settings, replace(FACTS, file_names=["a.ics"]), NOW) == RuleDecision(False, 1)
    assert apply_rules(settings, replace(FACTS, file_names=["a.pdf"]), NOW) == RuleDecision(True)


@pytest.mark.parametrize(
    ("rules", "is_taken_later"),
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
def test_a_mail_that_a_rule_collects_when_older_is_not_skipped_for_good(
    rules: list[dict[str, Any]], is_taken_later: bool
) -> None:
    assert is_taken_when_older(build_settings(*rules, **LEAVE), FACTS, NOW) is is_taken_later


def test_the_latest_possible_date_is_accepted() -> None:
    facts = replace(FACTS, received_at=dt.datetime.max.replace(tzinfo=dt.UTC))
    assert not is_taken_when_older(build_settings({"older_than_days": 3}, **LEAVE), facts, NOW)


def test_only_the_fields_of_the_rules_are_required() -> None:
    assert list_required_header_fields(build_settings({"younger_than_days": 3}, {"attachment": "*.pdf"})) == ()
    assert list_required_header_fields(build_settings({"recipient": "a"}, {"sender": "b"}, {"sender": "c"})) == (
        "TO", "CC", "FROM", "SUBJECT", "MESSAGE-ID",
    )  # fmt: skip


def test_the_digest_depends_only_on_the_rules() -> None:
    rule = {"sender": "*@supplier.example"}
    assert compute_rules_digest(build_settings(rule)) == compute_rules_digest(
        build_settings(rule, after="seen", megabytes=10)
    )
    different_settings = [
        build_settings(),
        build_settings(rule, **LEAVE),
        build_settings({**rule, "take": False}),
        build_settings(rule, rule),
    ]
    assert (
        len(
            {compute_rules_digest(mailbox_settings) for mailbox_settings in [build_settings(rule), *different_settings]}
        )
        == 5
    )
