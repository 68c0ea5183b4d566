"""The files inside a PDF, bounded: those of its name tree, and those that only /AF knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pikepdf

from invoices.documents.pdf.damage import forgiving
from invoices.documents.sniffing import media_type

MAX_ATTACHMENTS = 100


def xml_attachments(pdf: pikepdf.Pdf) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every attachment that is XML by its content."""
    seen: set[tuple[int, int]] = set()
    for name, stream in listed_files(pdf):
        if stream.objgen in seen and stream.objgen != (0, 0):
            continue
        seen.add(stream.objgen)
        if not name.lower().endswith((".pdf", ".png", ".jpg", ".jpeg")):
            content = b""
            with forgiving():
                content = stream.read_bytes()
            if media_type(content) == "application/xml":
                yield name, content


def listed_files(pdf: pikepdf.Pdf) -> list[tuple[str, pikepdf.Stream]]:
    """Return the attachments, as many as can be listed before a broken one."""
    listed: list[tuple[str, pikepdf.Stream]] = []
    with forgiving():
        listed.extend(itertools.islice(_embedded_files(pdf), MAX_ATTACHMENTS))
    return listed


def _embedded_files(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Stream]]:
    """Yield name and stream of every file in the name tree, then of those only /AF knows; a name may end in NUL."""
    for key, specification in pdf.attachments.items():
        yield from _files_of(key, specification.obj)
    associated = pdf.Root.get("/AF")
    if isinstance(associated, pikepdf.Array):
        for index in range(min(len(associated), MAX_ATTACHMENTS)):
            yield from _files_of("", associated[index])


def _files_of(key: str, specification: pikepdf.Object) -> Iterator[tuple[str, pikepdf.Stream]]:
    files = specification.get("/EF") if isinstance(specification, pikepdf.Dictionary) else None
    if isinstance(files, pikepdf.Dictionary):
        stated = specification.get("/UF", specification.get("/F", key))
        stream = files.get("/F", files.get("/UF"))
        if isinstance(stream, pikepdf.Stream):
            yield str(stated).strip("\0 \t\r\n") or key.strip("\0"), stream
