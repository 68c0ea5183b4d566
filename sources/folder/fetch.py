"""Builds the arrivals of one file: of the file itself, of the parts of a container, or of the mails in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from invoices.documents.containers.container_media_types import MAIL_TYPE, is_container_type
from invoices.documents.containers.opened_container import OpenedContainer
from invoices.documents.content_sniffing import MAX_SNIFFED_BYTES, MBOX_TYPE
from invoices.documents.store_batch import StoreBatch
from invoices.errors import DocumentError
from invoices.ledger.mails import Arrival
from invoices.ledger.sightings import Sighting
from invoices.model import Flag
from invoices.settings.sources import FolderSettings
from sources.arrivals import (
    MAX_FILE_NAME_CHARS,
    Origin,
    add_quarantined_mail,
    build_initial_state,
    build_mail_arrival,
    build_part_sightings,
    build_whole_sighting,
)
from sources.authentication_results import UNKNOWN_RESULT
from sources.folder.folder_backend import FileChangedError, FileUnreadableError, FolderBackend, ListedFile
from sources.folder.listing import LocalFile, decode_path
from sources.folder.mbox import MailSpan, MboxMatcher, split_mbox

SOURCE_KIND = "folder"
MAX_CONTAINER_BYTES = 50 * 1024 * 1024  # a larger container is stored unopened


class ContainerOpener(MboxMatcher, Protocol):
    """Opens containers, in separate processes."""

    def open_container(
        self, container: bytes | Path, store_batch: StoreBatch, file_name: str | None = None, /
    ) -> OpenedContainer:
        """Return what is in a container; the parts are put into ``store_batch``."""
        ...

    def detect_file_type(self, head: bytes, /) -> str:
        """Return the media type of a file by its first bytes; ``application/octet-stream`` if detection fails."""
        ...


@dataclass(frozen=True, slots=True)
class FetchContext:
    """The folder and the services that are needed to fetch its files."""

    settings: FolderSettings
    backend: FolderBackend
    store_batch: StoreBatch
    container_opener: ContainerOpener


def fetch_file_arrivals(
    context: FetchContext, file: ListedFile, known_fingerprints: Collection[str]
) -> Iterator[Arrival]:
    """Yield the arrival of one file, or those of the mails in an mbox that are not yet recorded.

    Raises:
        FileChangedError: the file was written to meanwhile; the arrivals yielded before are complete and count.
        FileUnreadableError: the file cannot be read.
    """
    with context.backend.open_file(file) as stream:
        head = stream.read(MAX_SNIFFED_BYTES)
        stream.seek(0)
        media_type = context.container_opener.detect_file_type(head)
        if media_type == MBOX_TYPE:
            try:
                yield from _fetch_mbox_arrivals(context, file, stream, known_fingerprints)
            except DocumentError as error:
                raise FileUnreadableError(str(error)) from error
            return
        arrival = _store_file_and_open_containers(context, file, stream, media_type)
    yield arrival


def build_file_origin(settings: FolderSettings, backend: FolderBackend, file: ListedFile) -> Origin:
    """Return where a file was found, with the entity and the cost centre that the names of its directories give.

    The directory ``cur`` or ``new`` of a mail in a Maildir does not count: it only shows whether the mail is new.
    """
    labels: dict[str, str] = {}
    directories = backend.get_parent_directories(file)
    directories = directories[:-1] if isinstance(file, LocalFile) and file.is_maildir_mail else directories
    for label, name in zip(settings.sub_folders, directories, strict=False):
        labels.setdefault(label, decode_path(name)[:MAX_FILE_NAME_CHARS])
    return Origin(
        settings.name,
        SOURCE_KIND,
        file.location,
        fingerprint=file.fingerprint,
        entity=labels.get("entity"),
        cost_centre=labels.get("cost_centre"),
    )


def _store_file_and_open_containers(
    context: FetchContext, file: ListedFile, stream: BinaryIO, media_type: str
) -> Arrival:
    origin = build_file_origin(context.settings, context.backend, file)
    if media_type == MAIL_TYPE and file.size <= MAX_CONTAINER_BYTES:
        content = _read_whole_file(stream, file)
        return _build_mail_file_arrival(context, origin, content, file.file_name)
    sha256, size = context.store_batch.put_file(stream)
    if size != file.size:
        raise FileChangedError
    if media_type == MAIL_TYPE:
        return _build_oversized_mail_arrival(origin, sha256, size, file.file_name)
    if not is_container_type(media_type) or size > MAX_CONTAINER_BYTES:
        return Arrival([_set_file_name(build_whole_sighting(origin, sha256, size, media_type), file.file_name)])
    stream.seek(0)
    return _build_container_arrival(context, origin, file, (sha256, size, media_type), _read_whole_file(stream, file))


def _build_container_arrival(
    context: FetchContext, origin: Origin, file: ListedFile, stored_file: tuple[str, int, str], content: bytes
) -> Arrival:
    """Return the arrival of a container and its parts; one that cannot be opened is a document with a flag."""
    container = context.container_opener.open_container(content, context.store_batch, file.file_name)
    if container.reason_code:
        flag = Flag("INTAKE-CONTAINER", f"{file.file_name!r} was not opened: {container.reason}")
        flags = () if container.reason_code == "unsupported_type" else (*container.flags, flag)
        closed_sighting = replace(
            _set_file_name(build_whole_sighting(origin, *stored_file), file.file_name), flags=flags
        )
        return Arrival([closed_sighting, *build_part_sightings(origin, container)])
    container_sighting = _set_file_name(
        build_whole_sighting(origin, *stored_file, build_initial_state("container")), file.file_name
    )
    return Arrival([replace(container_sighting, flags=container.flags), *build_part_sightings(origin, container)])


def _build_mail_file_arrival(
    context: FetchContext, origin: Origin, content: bytes, file_name: str | None = None
) -> Arrival:
    container = context.container_opener.open_container(content, context.store_batch)
    arrival = build_mail_arrival(origin, content, container, UNKNOWN_RESULT)
    if not container.reason_code:
        return arrival
    quarantined = add_quarantined_mail(arrival, origin, context.store_batch.put(content), container)
    return replace(
        quarantined, sightings=[*quarantined.sightings[:-1], _set_file_name(quarantined.sightings[-1], file_name)]
    )


def _build_oversized_mail_arrival(origin: Origin, sha256: str, size: int, file_name: str | None = None) -> Arrival:
    container = OpenedContainer(reason_code="too_large", reason=f"a mail of {size} bytes")
    arrival = build_mail_arrival(origin, b"", container, UNKNOWN_RESULT)
    assert arrival.mail is not None  # noqa: S101 - build_mail_arrival sets it
    arrival = replace(arrival, mail=replace(arrival.mail, content_sha256=sha256, byte_count=size))
    quarantined = add_quarantined_mail(arrival, origin, sha256, container)
    return replace(quarantined, sightings=[_set_file_name(sighting, file_name) for sighting in quarantined.sightings])


def _fetch_mbox_arrivals(
    context: FetchContext, file: ListedFile, stream: BinaryIO, known_fingerprints: Collection[str]
) -> Iterator[Arrival]:
    """Yield the mails of an mbox that are not recorded under their key.

    The last mail carries the fingerprint of the file, so that the file counts as known only when all of it is recorded.
    The others carry their own key, so that in a file that has grown the known mails are recognised.
    """
    origin = build_file_origin(context.settings, context.backend, file)
    for span in split_mbox(stream, context.container_opener):
        if span.key in known_fingerprints and not span.is_last:
            continue
        arrival = _build_mbox_mail_arrival(context, origin, file, stream, span)
        if not context.backend.is_unchanged(file, stream):
            raise FileChangedError
        yield arrival


def _build_mbox_mail_arrival(
    context: FetchContext, file_origin: Origin, file: ListedFile, stream: BinaryIO, span: MailSpan
) -> Arrival:
    mail_origin = replace(
        file_origin,
        location=f"{file_origin.location}/;MESSAGE={span.key}",
        fingerprint=file.fingerprint if span.is_last else span.key,
    )
    stream.seek(span.start)
    if span.length > MAX_CONTAINER_BYTES:
        arrival = _build_oversized_mail_arrival(
            mail_origin, *context.store_batch.put_file(_LimitedStream(stream, span.length))
        )
    else:
        content = context.container_opener.unescape_from_lines(stream.read(span.length))
        arrival = _build_mail_file_arrival(context, mail_origin, content)
    assert arrival.mail is not None  # noqa: S101 - every mail arrival has one
    return replace(arrival, mail=replace(arrival.mail, folder=file_origin.location))


@dataclass(slots=True)
class _LimitedStream:
    """The next ``remaining`` bytes of an open file, as a file."""

    stream: BinaryIO
    remaining: int

    def read(self, size: int, /) -> bytes:
        """Return ``size`` bytes, fewer only before the end."""
        block = self.stream.read(min(size, self.remaining))
        self.remaining -= len(block)
        return block


def _read_whole_file(stream: BinaryIO, file: ListedFile) -> bytes:
    content = stream.read(file.size + 1)
    if len(content) != file.size:
        raise FileChangedError
    return content


def _set_file_name(sighting: Sighting, file_name: str | None) -> Sighting:
    return replace(sighting, file_name=file_name[:MAX_FILE_NAME_CHARS] if file_name else None)
