"""However long what came in is, the ledger takes it, on SQLite and on PostgreSQL; one mail stops no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from invoices.documents.unwrapping.parts import Header, Part, Unwrapped
from invoices.ledger import Ledger
from invoices.ledger.messages import Arrival, record_arrivals
from invoices.ledger.sightings import fingerprints
from invoices.model import Flag
from invoices.settings.intake import Folder, Mailbox
from sources.arriving import Place, Uid, bounded, mail, whole
from sources.authentication import authentication
from sources.folder.listing import Entry
from sources.folder.places import LocalFolder, described
from sources.folder.remote import RemoteEntry

RESULTS = ("pass", "fail", "none", "neutral", "policy", "softfail", "hardfail", "temperror", "permerror")
MANY = "; ".join(f"{method}={result}" for method in ("spf", "dkim", "dmarc") for result in RESULTS)
NOISE = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=3900))  # noqa: S311  that nothing packs
LONG_PATH = "/in" + "".join(f"/{NOISE[start : start + 200]}" for start in range(0, 3900, 200)) + ".pdf"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


def arrival(place: Place, section: str = "2", results: str = "") -> Arrival:
    """Return what a mail with one document brings, all else about it as long as anybody may make it."""
    words = "x" * 2000
    header = Header(words, words[:320], words[:320], (), words, None, (results,))
    part = Part(section, "application/pdf", words, words, None, words[:320], [Flag("INTAKE-NAME", words)])
    found = Unwrapped([part], header, hashes=("d" * 64,), byte_counts=(1,))
    return mail(place, b"mail", found, authentication([results], ["mx.example"]), Uid("INBOX", 7, 1))


def record(ledger: Ledger, one: Arrival) -> int:
    with ledger.transaction() as tx:
        return record_arrivals(tx, [one])


def test_a_part_deep_in_mails_in_mails_is_recorded(ledger: Ledger) -> None:
    section = "/".join(".".join(["12"] * 20) for _ in range(20))
    assert record(ledger, arrival(Place("office", "mailbox", "/INBOX;UID=1"), section)) == 1


def test_every_result_that_a_server_may_find_at_once_is_recorded(ledger: Ledger) -> None:
    results = f"mx.example; {MANY}"
    assert len(authentication([results], ["mx.example"])) > 100
    assert record(ledger, arrival(Place("office", "mailbox", "/INBOX;UID=1"), results=results)) == 1


def test_a_file_under_the_longest_path_is_recorded_and_known_again(ledger: Ledger) -> None:
    found = Entry(LONG_PATH, 10**13, 2**62, 2**64 - 1, 2**62)
    settings = Folder(name="office", url="/in")
    place = described(settings, LocalFolder(settings), found)
    assert record(ledger, Arrival([whole(place, "d" * 64, 1, "application/pdf")])) == 1
    assert fingerprint_kept(ledger, found.location) == {found.fingerprint}


def test_a_remote_file_with_the_longest_name_and_tag_is_recorded_and_known_again(ledger: Ledger) -> None:
    found = RemoteEntry("/p", (), bounded("s3://bucket/" + NOISE), 10**13, 2**62, NOISE[:128])
    place = Place("office", "folder", found.location, fingerprint=found.fingerprint)
    assert record(ledger, Arrival([whole(place, "d" * 64, 1, "application/pdf")])) == 1
    assert fingerprint_kept(ledger, found.location) == {found.fingerprint}


def test_two_long_places_stay_two() -> None:
    one, other = (Entry(LONG_PATH + end, 1, 1, 1, 1).location for end in ("1", "2"))
    assert one != other
    assert Path(one).parts[1] == "in"


def fingerprint_kept(ledger: Ledger, location: str) -> set[str]:
    with ledger.reading() as connection:
        return fingerprints(connection, "office", [location])[location]


def test_a_mail_in_a_mailbox_file_under_the_longest_path_is_recorded(ledger: Ledger) -> None:
    place = Place("office", "folder", Entry(LONG_PATH, 1, 1, 1, 1).location + "/;MESSAGE=1:0123456789abcdef")
    one = arrival(place)
    assert one.message is not None
    assert record(ledger, Arrival(one.sightings, replace(one.message, folder=place.location))) == 1


def test_a_folder_whose_name_is_longer_than_the_ledger_keeps_is_refused() -> None:
    Mailbox(name="ap", host="h", username="u", password=SecretStr("p"), folders=("x" * 200,))
    with pytest.raises(ValidationError, match="200 characters"):
        Mailbox(name="ap", host="h", username="u", password=SecretStr("p"), folders=("x" * 201,))
