"""Which mails are taken: ordered rules, the first that fits decides. Pure: nothing is asked, nothing is changed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from invoices.settings.intake import Mailbox, MailRule

TOLD = ("FROM", "SUBJECT", "MESSAGE-ID")  # what is told of a mail that is not fetched
_MOMENT = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at; ``names`` are the file names in the mail, None as long as it is not opened."""

    sender: str | None = None
    recipients: Sequence[str] = ()
    subject: str | None = None
    received_at: dt.datetime | None = None
    names: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a mail is taken, by which rule, counted from 1 (None: no rule fits), and which file names of it."""

    take: bool
    rule: int | None = None
    attachment: str | None = None

    @property
    def reason(self) -> str:
        """Say who decided."""
        whose = f"rule {self.rule}" if self.rule else "no rule"
        return f"{whose} {'fits' if self.rule is None else 'takes' if self.take else 'leaves'} it"


def decide(mailbox: Mailbox, facts: Facts, now: dt.datetime) -> Decision | None:
    """Return what becomes of a mail, or None where that depends on the file names in it."""
    for number, rule in enumerate(mailbox.rules, 1):
        if not _fits(rule, facts, now):
            continue
        if rule.attachment is not None and facts.names is None:
            return None
        if rule.attachment is None or any(matches(name, rule.attachment) for name in facts.names or ()):
            return Decision(rule.take, number, rule.attachment if rule.take else None)
    return Decision(mailbox.otherwise == "take")


def comes_later(mailbox: Mailbox, facts: Facts, now: dt.datetime) -> bool:
    """Return whether a mail that is left now will be taken once it is older."""
    if facts.received_at is None:
        return False
    for moment in sorted(_turning_points(mailbox, facts.received_at)):
        decision = decide(mailbox, facts, moment)
        if moment > now and (decision is None or decision.take):
            return True
    return False


def fields_needed(mailbox: Mailbox) -> tuple[str, ...]:
    """Return the header fields that the rules ask for, and then those that are told of a mail that they leave."""
    needed: list[str] = []
    for rule in mailbox.rules:
        needed += ["FROM"] * (rule.sender is not None) + ["TO", "CC"] * (rule.recipient is not None)
        needed += ["SUBJECT"] * (rule.subject is not None)
    return tuple(dict.fromkeys([*needed, *TOLD])) if needed else ()


def digest(mailbox: Mailbox) -> str:
    """Return what is the same as long as the rules are: 64 hex digits."""
    rules = [rule.model_dump(mode="json") for rule in mailbox.rules]
    return hashlib.sha256(json.dumps([rules, mailbox.otherwise], sort_keys=True).encode()).hexdigest()


def matches(text: str | None, pattern: str) -> bool:
    """Return whether a text fits a pattern of file names, without regard to case."""
    return text is not None and fnmatchcase(text.casefold(), pattern.casefold())


def _fits(rule: MailRule, facts: Facts, now: dt.datetime) -> bool:
    """Return whether all fits that a rule says, file names left aside."""
    return (
        (rule.sender is None or matches(facts.sender, rule.sender))
        and (rule.recipient is None or any(matches(one, rule.recipient) for one in facts.recipients))
        and (rule.subject is None or matches(facts.subject, rule.subject))
        and _is_of_age(rule, facts.received_at, now)
    )


def _is_of_age(rule: MailRule, received_at: dt.datetime | None, now: dt.datetime) -> bool:
    if rule.younger_than_days is None and rule.older_than_days is None:
        return True
    if received_at is None:
        return False
    days = (now - received_at) / dt.timedelta(days=1)
    is_too_old = rule.younger_than_days is not None and days >= rule.younger_than_days
    is_too_young = rule.older_than_days is not None and days <= rule.older_than_days
    return not is_too_old and not is_too_young


def _turning_points(mailbox: Mailbox, received_at: dt.datetime) -> set[dt.datetime]:
    """Return the moments from which on the age of a mail makes another rule fit."""
    ages = {age for rule in mailbox.rules for age in (rule.younger_than_days, rule.older_than_days) if age is not None}
    last = dt.datetime.max.replace(tzinfo=dt.UTC) - _MOMENT
    left = (last - received_at) / dt.timedelta(days=1)
    return {received_at + dt.timedelta(days=age) + _MOMENT for age in ages if age < left}
