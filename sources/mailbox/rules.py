"""Decides which mails are collected: rules in order, the first that matches decides. Pure functions."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from invoices.settings.sources import MailboxSettings, MailRule

IDENTIFYING_FIELDS = ("FROM", "SUBJECT", "MESSAGE-ID")  # recorded of a mail that is not fetched
_ONE_SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class MailFacts:
    """The properties of a mail that rules test; ``file_names`` is None as long as the mail is not opened."""

    sender: str | None = None
    recipients: Sequence[str] = ()
    subject: str | None = None
    received_at: dt.datetime | None = None
    file_names: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class RuleDecision:
    """Whether a mail is collected, and which rule decided, counted from 1 (None: no rule matches).

    With ``attachment_pattern``, only attachments whose file names match it are documents.
    """

    is_taken: bool
    rule_number: int | None = None
    attachment_pattern: str | None = None

    @property
    def reason(self) -> str:
        """The decision as text, such as ``rule 2 skips it``."""
        if self.rule_number is None:
            return "no rule matches it"
        return f"rule {self.rule_number} {'collects' if self.is_taken else 'skips'} it"


def apply_rules(mailbox: MailboxSettings, facts: MailFacts, now: dt.datetime) -> RuleDecision | None:
    """Return the decision on a mail, or None if it depends on the file names in the mail."""
    for number, rule in enumerate(mailbox.rules, 1):
        if not _is_rule_match(rule, facts, now):
            continue
        if rule.attachment is not None and facts.file_names is None:
            return None
        if rule.attachment is None or any(is_pattern_match(name, rule.attachment) for name in facts.file_names or ()):
            return RuleDecision(rule.take, number, rule.attachment if rule.take else None)
    return RuleDecision(mailbox.otherwise == "take")


def is_taken_when_older(mailbox: MailboxSettings, facts: MailFacts, now: dt.datetime) -> bool:
    """Return whether a mail that is skipped now will be collected, or may be, once it is older."""
    if facts.received_at is None:
        return False
    for moment in sorted(_list_rule_change_times(mailbox, facts.received_at)):
        decision = apply_rules(mailbox, facts, moment)
        if moment > now and (decision is None or decision.is_taken):
            return True
    return False


def list_required_header_fields(mailbox: MailboxSettings) -> tuple[str, ...]:
    """Return the header fields that the rules need, then those that identify a skipped mail; or none."""
    rule_fields: list[str] = []
    for rule in mailbox.rules:
        rule_fields += ["FROM"] * (rule.sender is not None) + ["TO", "CC"] * (rule.recipient is not None)
        rule_fields += ["SUBJECT"] * (rule.subject is not None)
    return tuple(dict.fromkeys([*rule_fields, *IDENTIFYING_FIELDS])) if rule_fields else ()


def compute_rules_digest(mailbox: MailboxSettings) -> str:
    """Return a digest of the rules and of ``otherwise``, which changes when they do: 64 hex digits."""
    rules = [rule.model_dump(mode="json") for rule in mailbox.rules]
    return hashlib.sha256(json.dumps([rules, mailbox.otherwise], sort_keys=True).encode()).hexdigest()


def is_pattern_match(text: str | None, pattern: str) -> bool:
    """Return whether a text matches a shell-style pattern, ignoring case."""
    return text is not None and fnmatchcase(text.casefold(), pattern.casefold())


def _is_rule_match(rule: MailRule, facts: MailFacts, now: dt.datetime) -> bool:
    """Return whether a mail meets all conditions of a rule except the one on file names."""
    return (
        (rule.sender is None or is_pattern_match(facts.sender, rule.sender))
        and (
            rule.recipient is None or any(is_pattern_match(recipient, rule.recipient) for recipient in facts.recipients)
        )
        and (rule.subject is None or is_pattern_match(facts.subject, rule.subject))
        and _is_age_match(rule, facts.received_at, now)
    )


def _is_age_match(rule: MailRule, received_at: dt.datetime | None, now: dt.datetime) -> bool:
    if rule.younger_than_days is None and rule.older_than_days is None:
        return True
    if received_at is None:
        return False
    age_days = (now - received_at) / dt.timedelta(days=1)
    is_too_old = rule.younger_than_days is not None and age_days >= rule.younger_than_days
    is_too_young = rule.older_than_days is not None and age_days <= rule.older_than_days
    return not is_too_old and not is_too_young


def _list_rule_change_times(mailbox: MailboxSettings, received_at: dt.datetime) -> set[dt.datetime]:
    """Return the times at which the age of a mail makes another rule match."""
    age_limits = {
        age for rule in mailbox.rules for age in (rule.younger_than_days, rule.older_than_days) if age is not None
    }
    latest = dt.datetime.max.replace(tzinfo=dt.UTC) - _ONE_SECOND
    max_age_days = (latest - received_at) / dt.timedelta(days=1)
    return {received_at + dt.timedelta(days=age) + _ONE_SECOND for age in age_limits if age < max_age_days}
