"""What a run would do, found out without doing it: nothing is written, and no call is made that costs anything."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from invoices.clients.invoicedataextraction_com import InvoiceDataExtraction
from invoices.clients.transport import make_session
from invoices.documents.outcomes import Reading
from invoices.documents.unwrapping.kinds import is_container
from invoices.errors import InvoicesError
from invoices.extraction import invoicedataextraction_com
from invoices.extraction.choice import choose
from invoices.extraction.estimate import minutes
from invoices.house import House
from invoices.ledger.documents import Pending, known_among, pending, pending_count
from invoices.ledger.extractions import Job, all_jobs
from invoices.ledger.sightings import fingerprints
from invoices.ledger.spending import Caps, room
from invoices.settings import PAID_EXTRACTORS, Folder, PaidExtractor
from sources.folder.listing import Entry, open_plainly
from sources.folder.places import LocalFolder, root_of

LOOKED_AT_TOGETHER = 500

Tick = Callable[[int], None]


@dataclass(slots=True)
class _Seen:
    """What is in the inbox and in the ledger, sorted by what comes next."""

    new_files: int
    new_mails: dict[str, int | str]  # by mailbox, or why they cannot be counted
    known_bytes: int
    read: Counter[str]
    to_ask: list[Pending]


def plan(house: House, tick: Tick = lambda _: None) -> dict[str, Any]:
    """Return what a run would do now; ``tick`` is told how many documents were just looked at.

    Keys: ``new_files``; ``new_mails`` by mailbox, a sentence where they cannot be counted; ``read`` (documents by
    outcome of reading them locally); ``already_answered``; ``ask``, a list with ``extractor``, ``documents``,
    ``pages``, ``owed`` (asked before, only the answer is missing), ``waits_for_cap``, ``credits_left``, ``minutes``;
    ``nobody``, the documents that no extractor is set up for.
    """
    seen = _look(house, tick)
    with house.ledger.reading() as connection:
        jobs = all_jobs(connection, [document.document_sha256 for document in seen.to_ask])
        answered = pending_count(connection, "judge")
    order = _order(house)
    chosen = [(document, choose(document, jobs.get(document.document_sha256, ()), order)) for document in seen.to_ask]
    return {
        "rehearsal": house.rehearses,
        "new_files": seen.new_files,
        "new_mails": seen.new_mails,
        "read": dict(sorted(seen.read.items())),
        "already_answered": answered + seen.known_bytes,
        "ask": [
            _asking(house, name, [document for document, whose in chosen if whose == name], jobs)
            for name in dict.fromkeys(whose for _, whose in chosen if whose is not None)
        ],
        "nobody": sum(whose is None for _, whose in chosen),
    }


def _order(house: House) -> list[str]:
    """Return who would be asked; a rehearsal has the sandbox stand in for everybody."""
    if house.settings.rehearses:
        return [name for name in house.settings.extractors if name in PAID_EXTRACTORS]
    return list(house.settings.paid_extractors)


def _asking(house: House, name: str, documents: Sequence[Pending], jobs: dict[str, list[Job]]) -> dict[str, Any]:
    part: PaidExtractor = getattr(house.settings, name)
    owed = {sha256 for sha256, found in jobs.items() for job in found if job.extracted_by == name and job.is_open} & {
        document.document_sha256 for document in documents
    }
    fresh = [document for document in documents if document.document_sha256 not in owed]
    with house.ledger.reading() as connection:
        caps = Caps(part.pages_per_run, part.pages_per_day, part.pages_per_month)
        left = room(connection, name, caps, house.ledger.now(), "the next")
    return {
        "extractor": name,
        "documents": len(fresh),
        "pages": sum(document.page_count or 1 for document in fresh),
        "owed": len(owed),
        "pages_left_under_caps": left,
        "waits_for_cap": _beyond(fresh, left),
        "credits_left": _credits(house, name),
        "minutes": minutes(part, len(documents)),
    }


def _beyond(documents: Sequence[Pending], left: int | None) -> int:
    """Return how many documents do not fit into so many pages, taken in turn; a shorter one may fit behind a longer."""
    if left is None:
        return 0
    waiting = 0
    for document in documents:
        pages = document.page_count or 1
        if pages <= left:
            left -= pages
        else:
            waiting += 1
    return waiting


def _credits(house: House, name: str) -> int | str | None:
    """Return the credits that the account has left, a sentence where they cannot be told, or None without any."""
    part = house.settings.invoicedataextraction_com
    if name != invoicedataextraction_com.EXTRACTOR or part.api_key is None:
        return None
    try:
        client = InvoiceDataExtraction(part.base_url, part.api_key.get_secret_value(), make_session())
        return client.balance().spendable
    except InvoicesError as error:
        return f"not known: {error}"


def _look(house: House, tick: Tick) -> _Seen:
    seen = _Seen(0, _new_mails(house), 0, Counter(), [])
    hashes: set[str] = set()
    for some in _pieces(_new_files(house)):
        seen.new_files += len(some)
        by_hash = {sha256: entry for entry in some if (sha256 := _hash(entry)) is not None}
        with house.ledger.reading() as connection:
            known = known_among(connection, by_hash)
        seen.known_bytes += len(some) - len(by_hash.keys() - known - hashes)
        fresh = [(sha256, entry) for sha256, entry in by_hash.items() if sha256 not in known | hashes]
        hashes |= by_hash.keys()
        readings = house.readers.read_many(entry.path for _, entry in fresh)
        for (sha256, entry), reading in zip(fresh, readings, strict=True):
            _sort(seen, reading, sha256, entry.size)
        tick(len(some))
    _look_in_ledger(house, seen, tick)
    return seen


def _look_in_ledger(house: House, seen: _Seen, tick: Tick) -> None:
    for some in _waiting(house, "read"):
        readings = house.readers.read_many(house.store.path(document.document_sha256) for document in some)
        for document, reading in zip(some, readings, strict=True):
            _sort(seen, reading, document.document_sha256, document.byte_count)
        tick(len(some))
    for some in _waiting(house, "ask"):
        seen.to_ask += some


def _sort(seen: _Seen, reading: Reading, sha256: str, size: int) -> None:
    seen.read["container" if is_container(reading.media_type or "") else reading.outcome] += 1
    if reading.outcome == "needs_extraction":
        first_seen = dt.datetime.now(dt.UTC)
        media_type = reading.media_type or ""
        seen.to_ask.append(Pending(sha256, 0, media_type, first_seen, reading.page_count, size))


def _new_mails(house: House) -> dict[str, int | str]:
    """Return for each mailbox how many mails are listed there that the ledger does not know."""
    counts: dict[str, int | str] = {}
    if house.settings.mailboxes:
        from flows import mailboxes
    for source in house.settings.mailboxes:
        try:
            counts[source.name] = sum(known is None for _, known in mailboxes.listing(house, source))
        except InvoicesError as error:
            counts[source.name] = f"new mails in mailbox {source.name!r} are not known: {error}"
    return counts


def _new_files(house: House) -> Iterator[Entry]:
    """Yield the files in folders on this machine that the ledger does not know."""
    for source in house.settings.sources:
        if isinstance(source, Folder) and not source.is_remote and root_of(source).is_dir():
            yield from _new_in(house, source)


def _new_in(house: House, source: Folder) -> Iterator[Entry]:
    for some in _pieces(entry for entry in LocalFolder(source).files() if isinstance(entry, Entry)):
        with house.ledger.reading() as connection:
            taken = fingerprints(connection, source.name, [entry.location for entry in some])
        yield from (entry for entry in some if entry.fingerprint not in taken.get(entry.location, ()))


def _waiting(house: House, stage: Literal["read", "ask"]) -> Iterator[list[Pending]]:
    last = 0
    while True:
        with house.ledger.reading() as connection:
            some = pending(connection, stage, LOOKED_AT_TOGETHER, last)
        if not some:
            return
        yield some
        last = some[-1].sequence


def _pieces(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    while some := list(islice(entries, LOOKED_AT_TOGETHER)):
        yield some


def _hash(entry: Entry) -> str | None:
    """Return the SHA-256 of a file as it is now, or None where it cannot be read."""
    try:
        with open_plainly(entry.path) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def as_text(planned: dict[str, Any]) -> str:
    """Return the plan as a person reads it."""
    read = planned["read"]
    lines = ["REHEARSAL: no vendor key is set, so the sandbox would stand in."] if planned["rehearsal"] else []
    lines.append(f"{planned['new_files']:6}  new files in folders")
    for name, count in planned["new_mails"].items():
        lines.append(f"{count:6}  new mails in mailbox {name!r}" if isinstance(count, int) else f"{'?':>6}  {count}")
    lines += [f"{count:6}  {WORDS[outcome]}" for outcome, count in read.items()]
    lines.append(f"{planned['already_answered']:6}  answered already, or the same bytes as a known document: free")
    for one in planned["ask"]:
        lines += _asked_as_text(one)
    if planned["nobody"]:
        lines.append(f"{planned['nobody']:6}  wait: no extractor is set up that can read them")
    return "\n".join(lines)


WORDS = {
    "container": "mails and archives: what is in them is known once they are collected",
    "einvoice": "e-invoices, read locally: free",
    "needs_extraction": "need an extraction service",
    "not_invoice": "no invoices",
    "review": "for a person: empty, locked, too large, or of a type that is not read",
    "unreadable": "set aside: broken or dangerous",
}


def _asked_as_text(one: dict[str, Any]) -> list[str]:
    told = [f"{one['documents']:6}  to {one['extractor']}: {one['pages']} pages, at least {one['minutes']} min"]
    if one["owed"]:
        told.append(f"{one['owed']:6}  asked there before; only the answers are missing")
    if one["waits_for_cap"]:
        told.append(f"{one['waits_for_cap']:6}  of them wait: the caps leave {one['pages_left_under_caps']} pages")
    if one["credits_left"] is not None:
        told.append(f"        credits left: {one['credits_left']}")
    if isinstance(one["credits_left"], str):
        told.append("        as long as that is so, a run leaves these documents waiting, or asks the next extractor")
    return told
