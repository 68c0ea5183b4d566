"""The corpus of real mails in a real mailbox: every attachment that is known is in the store, and once is enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.ledger import Ledger
from tests.integration.dovecot_server import DovecotServer
from tests.integration.mailbox_desk import Desk

pytestmark = pytest.mark.corpus


@pytest.fixture
def mails(corpus: Path) -> list[dict[str, Any]]:
    """What the manifest says of the mails."""
    documents = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]
    return [one for one in documents if one["kind"] == "email"]


@pytest.fixture
def desk(
    dovecot: DovecotServer, ledger: Ledger, corpus: Path, mails: list[dict[str, Any]], tmp_path: Path
) -> Iterator[Desk]:
    """A mailbox with all of them."""
    user = dovecot.account()
    for mail in mails:
        user.deliver((corpus / mail["path"]).read_bytes())
    with Unwrappers(2) as unwrappers:
        yield Desk(user, ledger, DocumentStore(tmp_path / "store"), unwrappers, tmp_path)


def test_every_known_attachment_of_every_mail_is_in_the_store_and_a_second_look_finds_nothing(
    desk: Desk, mails: list[dict[str, Any]]
) -> None:
    seen = desk.look()
    assert len(desk.outcomes()) == len(mails) == 50
    assert seen.problems == []
    attachments = {one["sha256"] for mail in mails for one in (mail["expected"] or {}).get("attachments", ())}
    assert len(attachments) >= 20
    assert attachments - kept(desk) == set()
    before = desk.documents()
    again = desk.look()
    assert (desk.rows, again.known, desk.documents()) == ([], 50, before)


def kept(desk: Desk) -> set[str]:
    """Return the hashes of the documents, also as they are with bare line feeds.

    On its way through IMAP every line of a mail ends in CR LF (RFC 5322 §2.3), so also those of a text that is attached
    without any encoding; the manifest is about the files.
    """
    contents = [desk.store.read(sha256) for sha256 in desk.documents()]
    plain = {hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() for content in contents}
    return plain | set(desk.documents())
