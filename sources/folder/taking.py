"""What a file brings: itself, what is in it if it is a container, or the mails in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from invoices.documents.landing import Landing
from invoices.documents.sniffing import HEAD, media_type
from invoices.documents.unwrapping.kinds import MAIL, is_container
from invoices.documents.unwrapping.parts import Unwrapped
from invoices.ledger.messages import Arrival
from invoices.ledger.sightings import Sighting
from invoices.model import Flag
from invoices.settings.intake import Folder
from sources.arriving import Place, keeping, mail, settled_for, sightings_of, whole
from sources.folder.mail_files import Span, mails_of, starts_mailbox, unquoted
from sources.folder.places import LONGEST_NAME, Changed, FolderAt, Found, described

LARGEST_CONTAINER = 50 * 1024 * 1024  # bytes; a larger one is kept unopened
UNKNOWN = "unknown"  # nobody of ours has checked where a mail in a file is from


class Unwraps(Protocol):
    """What opens containers, in processes of their own."""

    def unwrap(self, container: bytes | Path, landing: Landing, file_name: str | None = None, /) -> Unwrapped:
        """Return what is in a container; the parts are put into the landing."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What taking needs at hand."""

    settings: Folder
    at: FolderAt
    landing: Landing
    unwrappers: Unwraps


def take(desk: Desk, found: Found, taken_there: Collection[str]) -> Iterator[Arrival]:
    """Yield the arrivals of one file: one, or those of the mails in an mbox that were not taken there before.

    Raises:
        Changed: it was written to meanwhile; what was yielded before counts, and is whole.
        Unreadable: it cannot be read.
    """
    with desk.at.opened(found) as opened:
        head = opened.read(HEAD)
        opened.seek(0)
        if starts_mailbox(head):
            yield from _mails(desk, found, opened, taken_there)
            return
        arrival = _file(desk, found, opened, media_type(head))
    yield arrival


def _file(desk: Desk, found: Found, opened: BinaryIO, kind: str) -> Arrival:
    place = described(desk.settings, desk.at, found)
    if kind == MAIL and found.size <= LARGEST_CONTAINER:
        content = _all(opened, found)
        return _mail(desk, place, content, found.file_name)
    sha256, size = desk.landing.put_file(opened)
    if size != found.size:
        raise Changed
    if kind == MAIL:
        return _too_large(place, sha256, size, found.file_name)
    if not is_container(kind) or size > LARGEST_CONTAINER:
        return Arrival([_named(whole(place, sha256, size, kind), found.file_name)])
    opened.seek(0)
    return _container(desk, place, found, (sha256, size, kind), _all(opened, found))


def _container(desk: Desk, place: Place, found: Found, kept: tuple[str, int, str], content: bytes) -> Arrival:
    """Return a container with what was in it; one that stays closed is a document like any other, with a flag."""
    unwrapped = desk.unwrappers.unwrap(content, desk.landing, found.file_name)
    if unwrapped.reason_code:
        flag = Flag("INTAKE-CONTAINER", f"{found.file_name!r} was not opened: {unwrapped.reason}")
        flags = () if unwrapped.reason_code == "unsupported_type" else (*unwrapped.flags, flag)
        closed = replace(_named(whole(place, *kept), found.file_name), flags=flags)
        return Arrival([closed, *sightings_of(place, unwrapped)])
    itself = _named(whole(place, *kept, settled_for("container")), found.file_name)
    return Arrival([replace(itself, flags=unwrapped.flags), *sightings_of(place, unwrapped)])


def _mail(desk: Desk, place: Place, content: bytes, file_name: str | None = None) -> Arrival:
    unwrapped = desk.unwrappers.unwrap(content, desk.landing)
    arrival = mail(place, content, unwrapped, UNKNOWN)
    if not unwrapped.reason_code:
        return arrival
    kept = keeping(arrival, place, desk.landing.put(content), unwrapped)
    return replace(kept, sightings=[*kept.sightings[:-1], _named(kept.sightings[-1], file_name)])


def _too_large(place: Place, sha256: str, size: int, file_name: str | None = None) -> Arrival:
    unwrapped = Unwrapped(reason_code="too_large", reason=f"a mail of {size} bytes")
    arrival = mail(place, b"", unwrapped, UNKNOWN)
    assert arrival.message is not None  # noqa: S101 - mail() gives one
    arrival = replace(arrival, message=replace(arrival.message, content_sha256=sha256, byte_count=size))
    kept = keeping(arrival, place, sha256, unwrapped)
    return replace(kept, sightings=[_named(one, file_name) for one in kept.sightings])


def _mails(desk: Desk, found: Found, opened: BinaryIO, taken_there: Collection[str]) -> Iterator[Arrival]:
    """Yield the mails of an mbox; the last one carries the fingerprint of the file, which so is known only at its end.

    The others carry their own key, so that a file that has grown shows which of its mails are known.
    """
    place = described(desk.settings, desk.at, found)
    for span in mails_of(opened):
        if span.key in taken_there and not span.is_last:
            continue
        arrival = _mail_in(desk, place, found, opened, span)
        if not desk.at.is_unchanged(found, opened):
            raise Changed
        yield arrival


def _mail_in(desk: Desk, place: Place, found: Found, opened: BinaryIO, span: Span) -> Arrival:
    mine = replace(
        place,
        location=f"{place.location}/;MESSAGE={span.key}",
        fingerprint=found.fingerprint if span.is_last else span.key,
    )
    opened.seek(span.start)
    if span.length > LARGEST_CONTAINER:
        arrival = _too_large(mine, *desk.landing.put_file(_Part(opened, span.length)))
    else:
        arrival = _mail(desk, mine, unquoted(opened.read(span.length)))
    assert arrival.message is not None  # noqa: S101 - a mail has one
    return replace(arrival, message=replace(arrival.message, folder=place.location))


@dataclass(slots=True)
class _Part:
    """The next bytes of an open file, as a file."""

    opened: BinaryIO
    left: int

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only before the end."""
        block = self.opened.read(min(size, self.left))
        self.left -= len(block)
        return block


def _all(opened: BinaryIO, found: Found) -> bytes:
    content = opened.read(found.size + 1)
    if len(content) != found.size:
        raise Changed
    return content


def _named(sighting: Sighting, file_name: str | None) -> Sighting:
    return replace(sighting, file_name=file_name[:LONGEST_NAME] if file_name else None)
