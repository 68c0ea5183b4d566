"""Values of any length are recorded in the ledger, on SQLite and on PostgreSQL, so that one mail stops no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from invoices.documents.containers.opened_container import ContainerPart, MailHeader, OpenedContainer
from invoices.ledger import Ledger
from invoices.ledger.mails import Arrival, record_arrivals
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.model import Flag
from invoices.model.locations import truncate_with_hash
from invoices.settings.sources import FolderSettings, MailboxSettings
from sources.arrivals import ImapUid, Origin, build_mail_arrival, build_whole_sighting
from sources.authentication_results import summarise_authentication_results
from sources.folder.fetch import build_file_origin
from sources.folder.listing import LocalFile
from sources.folder.local_folder import LocalFolder
from sources.folder.remote_folder import RemoteFile

RESULTS = ("pass", "fail", "none", "neutral", "policy", "softfail", "hardfail", "temperror", "permerror")
MANY_RESULTS = "; ".join(f"{method}={result}" for method in ("spf", "dkim", "dmarc") for result in RESULTS)
RANDOM_TEXT = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=3900))  # noqa: S311  cannot be compressed
LONG_PATH = "/in" + "".join(f"/{RANDOM_TEXT[start : start + 200]}" for start in range(0, 3900, 200)) + ".pdf"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    new_ledger = Ledger(ledger_url)
    yield new_ledger
    new_ledger.close()


def build_long_arrival(origin: Origin, section: str = "2", results: str = "") -> Arrival:
    """Return the arrival of a mail with one document, whose other values are as long as a sender can make them."""
    long_text = "x" * 2000
    header = MailHeader(long_text, long_text[:320], long_text[:320], (), long_text, None, (results,))
    part = ContainerPart(
        section, "application/pdf", long_text, long_text, None, long_text[:320], [Flag("INTAKE-NAME", long_text)]
    )
    opened_mail = OpenedContainer([part], header, part_hashes=("d" * 64,), byte_counts=(1,))
    return build_mail_arrival(
        origin,
        b"mail",
        opened_mail,
        summarise_authentication_results([results], ["mx.example"]),
        ImapUid("INBOX", 7, 1),
    )


def record_arrival(ledger: Ledger, new_arrival: Arrival) -> int:
    with ledger.begin_transaction() as tx:
        return record_arrivals(tx, [new_arrival])


def test_a_part_deep_in_nested_mails_is_recorded(ledger: Ledger) -> None:
    section = "/".join(".".join(["12"] * 20) for _ in range(20))
    assert record_arrival(ledger, build_long_arrival(Origin("office", "mailbox", "/INBOX;UID=1"), section)) == 1


def test_all_possible_authentication_results_at_once_are_recorded(ledger: Ledger) -> None:
    results = f"mx.example; {MANY_RESULTS}"
    assert len(summarise_authentication_results([results], ["mx.example"])) > 100
    assert record_arrival(ledger, build_long_arrival(Origin("office", "mailbox", "/INBOX;UID=1"), results=results)) == 1


def test_a_file_with_the_longest_path_is_recorded_and_recognised(ledger: Ledger) -> None:
    listed_file = LocalFile(LONG_PATH, 10**13, 2**62, 2**64 - 1, 2**62)
    settings = FolderSettings(name="office", url="/in")
    origin = build_file_origin(settings, LocalFolder(settings), listed_file)
    assert record_arrival(ledger, Arrival([build_whole_sighting(origin, "d" * 64, 1, "application/pdf")])) == 1
    assert list_recorded_fingerprints(ledger, listed_file.location) == {listed_file.fingerprint}


def test_a_remote_file_with_the_longest_name_and_tag_is_recorded_and_recognised(ledger: Ledger) -> None:
    listed_file = RemoteFile(
        "/p", (), truncate_with_hash("s3://bucket/" + RANDOM_TEXT), 10**13, 2**62, RANDOM_TEXT[:128]
    )
    origin = Origin("office", "folder", listed_file.location, fingerprint=listed_file.fingerprint)
    assert record_arrival(ledger, Arrival([build_whole_sighting(origin, "d" * 64, 1, "application/pdf")])) == 1
    assert list_recorded_fingerprints(ledger, listed_file.location) == {listed_file.fingerprint}


def test_two_long_locations_stay_different() -> None:
    first_location, second_location = (LocalFile(LONG_PATH + end, 1, 1, 1, 1).location for end in ("1", "2"))
    assert first_location != second_location
    assert Path(first_location).parts[1] == "in"


def list_recorded_fingerprints(ledger: Ledger, location: str) -> set[str]:
    with ledger.open_snapshot() as connection:
        return list_fingerprints_by_location(connection, "office", [location])[location]


def test_a_mail_in_an_mbox_with_the_longest_path_is_recorded(ledger: Ledger) -> None:
    origin = Origin("office", "folder", LocalFile(LONG_PATH, 1, 1, 1, 1).location + "/;MESSAGE=1:0123456789abcdef")
    long_arrival = build_long_arrival(origin)
    assert long_arrival.mail is not None
    assert (
        record_arrival(ledger, Arrival(long_arrival.sightings, replace(long_arrival.mail, folder=origin.location))) == 1
    )


def test_a_folder_name_longer_than_its_column_is_refused() -> None:
    MailboxSettings(name="ap", host="h", username="u", password=SecretStr("p"), folders=("x" * 200,))
    with pytest.raises(ValidationError, match="200 characters"):
        MailboxSettings(name="ap", host="h", username="u", password=SecretStr("p"), folders=("x" * 201,))
