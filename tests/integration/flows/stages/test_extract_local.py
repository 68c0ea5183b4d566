"""Local extraction: the malware scanner runs before a document is opened, and invoices in mail texts go to review."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

import pytest

from flows.bootstrap import open_app
from flows.runner import run_stages
from flows.stages import collect, extract_local
from invoices.ledger.documents import count_documents_by_state
from invoices.run_report import RunReport
from invoices.settings import Settings

SCANNER_SCRIPT = "import sys; sys.exit(1 if b'bad' in open(sys.argv[1], 'rb').read() else 0)"


def test_what_the_scanner_finds_is_quarantined_and_the_rest_is_read(app_settings: Settings) -> None:
    command = (sys.executable, "-c", SCANNER_SCRIPT)
    settings = app_settings.model_copy(
        update={"reading": app_settings.reading.model_copy(update={"scanner_command": command})}
    )
    states = count_states_after_extraction(settings, {"a.txt": b"bad words", "b.txt": b"good words"})
    assert states == {("quarantined", "malware"): 1, ("review", "unsupported_type"): 1}


def test_a_scanner_that_is_down_is_one_problem_and_ends_the_stage(app_settings: Settings) -> None:
    reading_settings = app_settings.reading.model_copy(update={"scanner_command": ("/there/is/no/scanner",)})
    settings = app_settings.model_copy(update={"reading": reading_settings, "batch_size": 1})
    write_files(settings, {f"{number}.txt": b"text %d" % number for number in range(3)})
    report = RunReport()
    with open_app(settings) as app:
        run_stages(app, (collect, extract_local), report)
        with app.ledger.open_snapshot() as connection:
            states = count_documents_by_state(connection)
    assert states == {("waiting", "not_scanned"): 1, ("waiting", "collected"): 2}
    (problem,) = report.problems
    assert "cannot be started" in problem
    assert "INVOICES_READING__SCANNER_COMMAND" in problem


def test_a_document_at_which_the_scanner_fails_is_named_and_the_rest_is_read(app_settings: Settings) -> None:
    program = "import sys; sys.exit(2 if b'bad' in open(sys.argv[1], 'rb').read() else 0)"
    reading_settings = app_settings.reading.model_copy(update={"scanner_command": (sys.executable, "-c", program)})
    settings = app_settings.model_copy(update={"reading": reading_settings})
    write_files(settings, {"a.txt": b"bad words", "b.txt": b"good words"})
    report = RunReport()
    with open_app(settings) as app:
        run_stages(app, (collect, extract_local), report)
    (problem,) = report.problems
    assert hashlib.sha256(b"bad words").hexdigest()[:12] in problem
    assert report.local_outcomes == {"waiting": 1, "review": 1}


@pytest.mark.parametrize("end", [b"<x/>", b"<html>", b"<svg/>"])
def test_a_file_that_begins_with_forty_comments_is_read_like_any_other(app_settings: Settings, end: bytes) -> None:
    states = count_states_after_extraction(app_settings, {"a.xml": b"<!---->" * 40 + end, "b.txt": b"words"})
    assert sum(states.values()) == 2
    assert {state for state, _ in states} <= {"not_invoice", "review", "quarantined"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("plain", "Invoice 17\nTotal 119.00 EUR\n"),
        ("html", "<html><body>Invoice 17, total 119.00 EUR</body></html>"),
        ("html", "<div>Invoice 17, total&nbsp;119.00 EUR</div>"),
        ("html", "<div>Invoice 17, total 119.00 EUR</div>"),
    ],
)
def test_an_invoice_in_the_text_of_a_mail_goes_to_review(app_settings: Settings, kind: str, text: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "shop@example.org", "Your invoice"
    mail.set_content(text, subtype=kind)
    assert count_states_after_extraction(app_settings, {"a.eml": mail.as_bytes()}) == {("review", "mail_body"): 1}


def test_a_text_file_is_not_treated_as_the_text_of_a_mail(app_settings: Settings) -> None:
    states = count_states_after_extraction(app_settings, {"a.txt": b"Invoice 17\nTotal 119.00 EUR\n"})
    assert states == {("review", "unsupported_type"): 1}


def count_states_after_extraction(settings: Settings, files: Mapping[str, bytes]) -> dict[tuple[str, str], int]:
    """Collect and read these files; return the number of documents by (state, reason code)."""
    write_files(settings, files)
    report = RunReport()
    with open_app(settings) as app:
        for stage in (collect, extract_local):
            for batch in stage.iter_pending_batches(app, report):
                stage.process_batch(app, batch, report)
        with app.ledger.open_snapshot() as connection:
            return count_documents_by_state(connection)


def write_files(settings: Settings, files: Mapping[str, bytes]) -> None:
    """Put files into the inbox."""
    inbox = Path(settings.inbox_directory)
    inbox.mkdir(parents=True)
    for name, content in files.items():
        (inbox / name).write_bytes(content)
