"""Mailboxes through the command line and a real server: everything is taken once, and nothing is touched too early."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import psutil
import pytest
from killing import Fork
from mail_house import MailHouse, command_lines, entry, mail, mail_with_nothing, message_ids, pdf_of, samples

from tests.integration.dovecot_server import Account, DovecotServer
from tests.integration.postgres_server import PostgresServer
from tests.integration.scripted_imap import CuttingProxy

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Fork]]:
    """The two processes from which command lines are forked."""
    with command_lines(tmp_path_factory.mktemp("shim"), 2) as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, forks: list[Fork]) -> MailHouse:
    """A house without settings yet."""
    return MailHouse(tmp_path / "house", forks[0])


@pytest.fixture
def user(dovecot: DovecotServer) -> Account:
    """A mailbox with three mails."""
    account = dovecot.account()
    for number in (1, 2, 3):
        account.deliver(mail(number))
    return account


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hashes(*numbers: int) -> set[str]:
    """Return the documents in our mails of these numbers."""
    return {sha256(pdf_of(number)) for number in numbers}


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_a_changed_uidvalidity_reads_again_takes_nothing_twice_and_misses_no_new_mail_with_an_old_uid(
    house: MailHouse, user: Account, security: str
) -> None:
    house.set_up(entry(user, security=security))
    assert house.collected()["documents"]["new"] == 3
    user.server.doveadm("expunge", "-u", user.username, "mailbox", "INBOX", "subject", "Invoice 1")
    user.bump_uidvalidity()
    user.deliver(mail(4))
    assert user.uids() == [1, 2, 3]
    assert house.collected()["documents"]["new"] == 1
    assert set(house.documents()) == hashes(1, 2, 3, 4)
    assert house.collected()["documents"]["new"] == 0
    (told,) = house.reconciled()["sources"]
    assert (told["listed"], told["known"]) == (3, 3)


def test_a_mail_that_was_moved_away_and_back_or_copied_is_seen_everywhere_and_taken_once(
    house: MailHouse, user: Account
) -> None:
    user.create_folder("Later")
    house.set_up(entry(user, folders=["INBOX", "Later"]))
    house.collected()
    for source, target in (("INBOX", "Later"), ("Later", "INBOX")):
        user.server.doveadm("move", "-u", user.username, target, "mailbox", source, "subject", "Invoice 2")
        assert house.collected()["documents"]["new"] == 0
    user.server.doveadm("copy", "-u", user.username, "Later", "mailbox", "INBOX", "subject", "Invoice 3")
    assert house.collected()["documents"]["new"] == 0
    assert len(house.documents()) == 3
    seen = house.rows("select document_sha256, location from sightings order by location")
    folders = [(row["document_sha256"], row["location"].split(";")[0]) for row in seen]
    second, third = sha256(pdf_of(2)), sha256(pdf_of(3))
    assert sorted(folder for document, folder in folders if document == second) == ["/INBOX", "/INBOX", "/Later"]
    assert sorted(folder for document, folder in folders if document == third) == ["/INBOX", "/Later"]
    house.reconciled()


@pytest.mark.parametrize(("after", "flag"), [("seen", r"\Seen"), ("flag", r"\Flagged")])
def test_mails_whose_documents_are_safe_are_marked_and_no_others(
    house: MailHouse, user: Account, after: str, flag: str
) -> None:
    user.deliver(mail_with_nothing())
    house.set_up(entry(user, after=after))
    house.collected()
    marked = [uid for uid, flags in user.flags().items() if flag in flags]
    assert marked == [1, 2, 3]
    before = house.tables()
    house.collected()
    assert house.tables() == before
    house.reconciled()


@pytest.mark.parametrize("after", ["move:Done", "delete"])
def test_mails_leave_the_folder_once_their_documents_are_safe_and_no_others(
    house: MailHouse, user: Account, after: str
) -> None:
    user.create_folder("Done")
    user.deliver(mail_with_nothing())
    mails = user.messages()
    house.set_up(entry(user, after=after))
    house.collected()
    assert user.messages() == [mail_with_nothing()]
    assert message_ids(user.messages("Done")) == (message_ids(mails[:3]) if after == "move:Done" else [])
    assert [house.keeps(sha256(one)) for one in mails] == [after == "delete"] * 3 + [False]
    assert {row["action"] for row in house.rows("select action from messages where outcome = 'taken'")} == {"done"}
    house.reconciled()


@pytest.mark.parametrize("after", ["move:Done", "delete"])
@pytest.mark.parametrize("moment", ["before the server acts", "before the ledger knows"])
def test_a_process_killed_between_server_and_ledger_is_made_good_by_the_next(
    house: MailHouse, user: Account, after: str, moment: str
) -> None:
    user.create_folder("Done")
    mails, command = user.messages(), b"UID MOVE" if after == "move:Done" else b"UID EXPUNGE"

    def is_the_moment(sent: bytes, received: bytes) -> bool:
        place = sent.find(command)
        if moment == "before the server acts":
            return place >= 0
        tag = sent[:place].split()[-1] if place >= 0 else b""
        return bool(tag) and b"\r\n" + tag + b" OK" in received

    with KillingProxy(user.port, is_the_moment) as proxy:
        house.set_up(entry(user, after=after) | {"port": proxy.port})
        assert house.run("collect").status == -9
        assert {row["action"] for row in house.rows("select action from messages")} == {"due"}
        assert len(user.messages()) == (3 if moment == "before the server acts" else 0)
    house.set_up(entry(user, after=after))
    assert house.collected()["documents"]["new"] == 0
    assert {row["action"] for row in house.rows("select action from messages")} == {"done"}
    assert user.messages() == []
    assert message_ids(user.messages("Done")) == (message_ids(mails) if after == "move:Done" else [])
    assert hashes(1, 2, 3) <= set(house.documents())
    house.reconciled()


class KillingProxy(CuttingProxy):
    """Kills whoever is connected at the moment, instead of passing on what came."""

    def __init__(self, port: int, is_the_moment: Callable[[bytes, bytes], bool]) -> None:
        def kills(sent: bytes, received: bytes) -> bool:
            return is_the_moment(sent, received) and self._kill()

        super().__init__(port, kills)

    def _kill(self) -> bool:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # some end by themselves meanwhile
                if any(one.raddr and one.raddr.port == self.port for one in child.net_connections("tcp4")):
                    child.kill()
        return True


def test_of_two_collects_at_once_the_second_says_so_and_ends_well(
    house: MailHouse, forks: list[Fork], user: Account
) -> None:
    at_the_door, open_the_door = threading.Event(), threading.Event()

    def waits(sent: bytes, received: bytes) -> bool:
        at_the_door.set()
        return not open_the_door.wait(60)

    with CuttingProxy(user.port, waits) as proxy, ThreadPoolExecutor(1) as threads:
        house.set_up(entry(user) | {"port": proxy.port})
        first = threads.submit(house.collected)
        try:
            assert at_the_door.wait(60)
            second = replace(house, fork=forks[1]).run("collect")
        finally:
            open_the_door.set()
        assert first.result()["documents"]["new"] == 3
    assert (second.status, second.out.count("\n")) == (0, 1)
    assert "a run is already active" in second.out
    house.set_up(entry(user))
    house.reconciled()


def test_two_homes_with_one_ledger_and_one_store_take_a_mailbox_once(
    tmp_path: Path, forks: list[Fork], user: Account, postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    houses = [MailHouse(tmp_path / name, fork) for name, fork in zip(("one", "two"), forks, strict=True)]
    (tmp_path / "documents").mkdir()
    for one in houses:
        one.set_up(entry(user))
        one.home.mkdir()
        (one.home / "documents").symlink_to(tmp_path / "documents")
    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(lambda one: one.run("collect", INVOICES_LEDGER_URL=url), houses))
    assert [one.status for one in ended] == [0, 0], [one.out for one in ended]
    assert sum(one.told["documents"]["new"] for one in ended) == 3
    compared = houses[0].run("reconcile", INVOICES_LEDGER_URL=url).told
    assert (compared["missing"], compared["twice"], compared["sound"]) == (0, 0, True)


def test_a_refused_password_is_told_once_and_keeps_no_other_mailbox_back(
    house: MailHouse, user: Account, dovecot: DovecotServer
) -> None:
    locked = dovecot.account()
    house.set_up(entry(locked, "locked") | {"password": "wrong"}, entry(user, "open"))
    ran = house.run("collect")
    assert ran.status == 1
    assert set(house.documents()) == hashes(1, 2, 3)
    (problem,) = ran.told["problems"]
    for words in ("'locked'", locked.username, "AUTHENTICATIONFAILED", "check the username and the password"):
        assert words in problem
    assert "wrong" not in problem
    attempts = [line for line in dovecot.log.splitlines() if "auth failed" in line and locked.username in line]
    assert len(attempts) == 1
    assert "1 attempts" in attempts[0]
    visits = {row["source_name"]: row["problem"] for row in house.rows("select * from source_visits")}
    assert visits["open"] is None
    assert "AUTHENTICATIONFAILED" in str(visits["locked"])


def test_the_doctor_logs_in_tells_what_the_rules_would_take_and_changes_nothing(
    house: MailHouse, user: Account
) -> None:
    house.set_up(entry(user, after="flag", rules=[{"subject": "Invoice 2", "take": False}]))
    before = user.flags()
    ran = house.run("doctor")
    assert ran.status == 0, ran.out
    (told,) = [check["detail"] for check in ran.told["checks"] if "office" in check["name"]]
    assert "INBOX" in told
    assert "2" in told
    assert user.flags() == before
    assert house.collected()["documents"]["new"] == 2
    assert [uid for uid, flags in user.flags().items() if r"\Flagged" in flags] == [1, 3]


def test_from_mail_to_export_each_number_leads_back_to_its_mail(house: MailHouse, dovecot: DovecotServer) -> None:
    account = dovecot.account()
    chosen = samples("cii EN 16931", "ubl Invoice", "pdf+cii EN 16931")
    for number, sample in enumerate(chosen, start=1):
        account.deliver(mail(number, (sample.name, sample.read_bytes()), sender=f"shop{number}@supplier.example"))
    account.deliver(mail_with_nothing())
    house.set_up(entry(account, after="flag"))
    ran = house.run("run")
    assert ran.status == 0, ran.out
    assert ran.told["documents"]["by_state"]["accepted"] == ran.told["exports"]["invoices"] == 3
    with duckdb.connect(str(house.home / "warehouse" / "invoices.duckdb"), read_only=True) as connection:
        seen = connection.execute(
            "select document_sha256, sender, subject, message_id, file_name, source_name from raw.sightings "
            "join core.invoices using (document_sha256) order by subject"
        ).fetchall()
        daily = connection.execute(
            "select source_name, source_kind, message_count, taken_message_count, empty_message_count, document_count, "
            "new_document_count, accepted_count from marts.intake_daily"
        ).fetchall()
    assert seen == [
        (sha256(sample.read_bytes()), f"shop{number}@supplier.example", f"Invoice {number}",
         f"<mail-{number}@supplier.example>", sample.name, "office")
        for number, sample in enumerate(chosen, start=1)
    ]  # fmt: skip
    assert daily == [("office", "mailbox", 4, 3, 1, 3, 3, 3)]
