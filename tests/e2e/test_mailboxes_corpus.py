"""The mails of the corpus in a real mailbox, through the command line: all attachments are taken, and only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_house import MailHouse, command_lines, entry, mail

from invoices.documents.unwrapping.mail import open_mail
from tests.integration.dovecot_server import DovecotServer

pytestmark = [pytest.mark.corpus, pytest.mark.slow, pytest.mark.unmeasured]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[MailHouse]:
    """A house without settings yet."""
    with command_lines(tmp_path) as (fork,):
        yield MailHouse(tmp_path / "house", fork)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_attachment_of_the_corpus_is_in_the_store_and_a_second_look_changes_nothing(
    corpus: Path, house: MailHouse, dovecot: DovecotServer
) -> None:
    known = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    mails = {row["path"]: row for row in known if row["kind"] == "email"}
    winmails = {row["path"]: row for row in known if row["kind"] == "tnef"}
    assert (len(mails), len(winmails)) == (50, 5)
    account = dovecot.account()
    for path in mails:
        account.deliver((corpus / path).read_bytes())
    for path in winmails:
        account.deliver(mail(1, ("winmail.dat", (corpus / path).read_bytes())))
    house.set_up(entry(account, security="tls"))
    assert house.collected()["problems"] == []
    missing = [
        (path, one["filename"])
        for path, row in (mails | winmails).items()
        for one in (row["expected"] or {"attachments": ()})["attachments"]
        if not any(map(house.keeps, as_served((corpus / path).read_bytes(), one["sha256"])))
    ]
    assert missing == []
    before, flags = house.tables(), account.flags()
    assert house.collected()["documents"]["new"] == 0
    assert house.tables() == before
    assert account.flags() == flags
    assert not any(r"\Seen" in one for one in flags.values())
    (told,) = house.reconciled()["sources"]
    assert (told["listed"], told["known"]) == (55, 55)


def as_served(content: bytes, wanted: str) -> set[str]:
    """Return the hash of an attachment, and its hash as IMAP sends a part that is not encoded: with CR LF."""
    if content[:4] == b"\x78\x9f\x3e\x22":  # winmail.dat
        return {wanted}
    _, contents = open_mail(content)
    found = [one for one in contents if sha256(one) == wanted]
    return {wanted, *(sha256(one.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) for one in found)}
