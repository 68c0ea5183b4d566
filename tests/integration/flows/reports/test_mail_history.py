"""The history of mails: the names by which each is found, and the words for what happened to it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from flows.reports.history import format_history, list_document_histories
from flows.reports.run_summary import format_run_summary, get_pipeline_status
from invoices.app import App
from invoices.ledger.mails import Arrival, MailFolderPosition, MailMessage, record_arrivals, set_folder_position
from invoices.ledger.sightings import Sighting
from invoices.model import compute_message_key, compute_sighting_id
from invoices.settings import MailboxSettings, Settings
from sources.arrivals import build_initial_state

ACCOUNT = {"name": "ap", "host": "h.example", "username": "u", "password": "x", "after": "move:Done"}
MAILDIR = "/in/Post/;UNIQUE=1700000001.M2P1.host"
PARTS = {
    "1": ("text/plain", None, None), "2": ("application/pdf", "bill.pdf", None),
    "3": ("application/pdf", "terms.pdf", "unmatched"), "4": ("application/zip", "more.zip", "container"),
    "5": ("image/png", "logo.png", "decoration"),
}  # fmt: skip


@pytest.fixture
def app_with_mailbox(app_settings: Settings) -> Iterator[App]:
    """An application with a mailbox that is never contacted."""
    settings = app_settings.model_copy(update={"mailboxes": (MailboxSettings(**ACCOUNT),)})
    with App(settings, prepare_vendor_settings=lambda _exit_stack: settings) as new_app:
        yield new_app


def record_mail(
    app: App, uid: int | None = 8, folder: str = "INBOX", sections: Sequence[str] = (), **message_values: Any
) -> None:
    """Record a mail of the account, or of the file ``folder`` if it has no UID, with these of ``PARTS``."""
    name = "ap" if uid else "inbox"
    defaults = {
        "outcome": "collected",
        "message_id": "<m8@shop.example>",
        "sender": "ann@shop.example",
        "subject": "Bill",
    }
    key = compute_message_key(name, f"{folder}{uid}")
    message = MailMessage(key, name, folder, uid=uid, uidvalidity=1700 if uid else None, **(defaults | message_values))
    sightings = [build_sighting(section, message) for section in sections]
    with app.ledger.begin_transaction() as tx:
        record_arrivals(tx, [Arrival(sightings, message)])


def build_sighting(section: str, message: MailMessage) -> Sighting:
    """Return the sighting of a part of a mail."""
    media_type, name, skip_reason_code = PARTS[section]
    location = f"{message.folder}/{message.uid}/;SECTION={section}"
    sighting_id = compute_sighting_id(message.source_name, location, section)
    return Sighting(
        sighting_id, hash_section(section), media_type, 10, message.source_name, "mailbox",
        location, name, message_key=message.message_key, message_id=message.message_id, section=section,
        declared_type=media_type, settled=build_initial_state(skip_reason_code) if skip_reason_code else None,
    )  # fmt: skip


def hash_section(section: str) -> str:
    return hashlib.sha256(section.encode()).hexdigest()


def test_a_mail_comes_before_its_documents_including_unmatched_files_and_archives(app_with_mailbox: App) -> None:
    record_mail(app_with_mailbox, sections=["1", "2", "3", "4", "5"])
    mail, *documents = list_document_histories(app_with_mailbox, "m8@shop.example")
    assert format_history(mail).startswith("Mail <m8@shop.example> from ann@shop.example: 'Bill'")
    assert [document["document"]["document_sha256"] for document in documents] == [
        hash_section(section) for section in "1234"
    ]
    assert json.loads(json.dumps(mail, default=str))["mail"]["uid"] == 8


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("INBOX", ["<m8@shop.example>", "INBOX UID 8 of 1700", "INBOX UID 8 of 1700 (waiting)"]),
        ("/in/a_b.eml", ["a_b.eml", "/in/a_b.eml"]),
        (MAILDIR, ["1700000001.M2P1.host", "1700000001.M2P1.host:2,FS", "/in/Post/cur/1700000001.M2P1.host:2,S"]),
    ],
)
def test_a_mail_that_brought_nothing_is_found_by_its_names(
    app_with_mailbox: App, folder: str, names: list[str]
) -> None:
    record_mail(app_with_mailbox, 8 if folder == "INBOX" else None, folder, outcome="no_documents")
    record_mail(app_with_mailbox, 9, "INBOX", message_id="<m9@shop.example>")
    record_mail(app_with_mailbox, None, "/in/axb.eml", message_id=None)
    for name in names:
        assert [history["mail"]["folder"] for history in list_document_histories(app_with_mailbox, name)] == [folder]


def test_the_text_of_a_mail_and_a_file_in_it_are_described_in_words(app_with_mailbox: App) -> None:
    received = dt.datetime(2026, 8, 1, 10, tzinfo=dt.UTC)
    record_mail(
        app_with_mailbox,
        sections=["1", "2"],
        received_at=received,
        action="done",
        skipped_parts='{"body": 1, "decoration": 2}',
    )
    mail, text, bill = map(format_history, list_document_histories(app_with_mailbox, "m8@shop.example"))
    assert "the text of a mail from ann@shop.example: 'Bill'" in text
    assert "as 'bill.pdf' in a mail from ann@shop.example" in bill
    assert "received 2026-08-01 10:00:00Z, authentication unknown, moved to 'Done' on the server" in bill
    assert "skipped: 1 text, 2 decorative pictures" in mail


def test_a_mail_in_a_file_has_no_received_time_if_that_is_unknown(app_with_mailbox: App) -> None:
    record_mail(app_with_mailbox, None, "/in/a.eml", ["2"], sender=None)
    mail, bill = map(format_history, list_document_histories(app_with_mailbox, "a.eml"))
    assert "received" not in mail + bill
    assert "as 'bill.pdf' in a mail from an unknown sender: 'Bill'" in bill


@pytest.mark.parametrize(("action", "words"), [("done", "done on the server"), ("failed", "failed on the server")])
def test_the_action_of_settings_that_are_gone_is_not_guessed(app_settings: Settings, action: str, words: str) -> None:
    with App(app_settings, prepare_vendor_settings=lambda _exit_stack: app_settings) as app:
        record_mail(app, action=action)
        assert words in format_history(list_document_histories(app, "m8@shop.example")[0])


def test_the_status_counts_waiting_mails_but_not_those_whose_uids_are_gone(app_with_mailbox: App) -> None:
    assert "Mails not collected" not in format_run_summary(app_with_mailbox, None)
    for uid, outcome in enumerate(["too_large", "waiting", "waiting", "skipped"], 1):
        record_mail(app_with_mailbox, uid, outcome=outcome)
    assert get_pipeline_status(app_with_mailbox)["mails_waiting"] == {"too_large": 1, "waiting": 2}
    assert (
        "Mails not collected: 1 too large, 2 waiting for a later run (list them with: invoices reconcile)"
        in format_run_summary(app_with_mailbox, None)
    )
    with app_with_mailbox.ledger.begin_transaction() as tx:
        set_folder_position(tx, "ap", "INBOX", MailFolderPosition(1701, 1, "rules"))
    assert get_pipeline_status(app_with_mailbox)["mails_waiting"] == {"too_large": 0, "waiting": 0}
