"""The files attached to a PDF, at most 100: those of its name tree, and those that only /AF lists."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pikepdf

from invoices.documents.content_sniffing import detect_media_type
from invoices.documents.pdf.tolerated_errors import ignore_broken_pdf_errors

MAX_ATTACHMENTS = 100


def extract_xml_attachments(pdf: pikepdf.Pdf) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every attachment that is XML by its content."""
    seen_ids: set[tuple[int, int]] = set()
    for name, stream in list_attachments(pdf):
        if stream.objgen in seen_ids and stream.objgen != (0, 0):
            continue
        seen_ids.add(stream.objgen)
        if not name.lower().endswith((".pdf", ".png", ".jpg", ".jpeg")):
            content = b""
            with ignore_broken_pdf_errors():
                content = stream.read_bytes()
            if detect_media_type(content) == "application/xml":
                yield name, content


def list_attachments(pdf: pikepdf.Pdf) -> list[tuple[str, pikepdf.Stream]]:
    """Return name and stream of the attachments, up to the first broken one."""
    attachments: list[tuple[str, pikepdf.Stream]] = []
    with ignore_broken_pdf_errors():
        attachments.extend(itertools.islice(_walk_embedded_files(pdf), MAX_ATTACHMENTS))
    return attachments


def _walk_embedded_files(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Stream]]:
    """Yield name and stream of each file in the name tree, then of those that only /AF lists."""
    for key, specification in pdf.attachments.items():
        yield from _extract_embedded_stream(key, specification.obj)
    associated_files = pdf.Root.get("/AF")
    if isinstance(associated_files, pikepdf.Array):
        for index in range(min(len(associated_files), MAX_ATTACHMENTS)):
            yield from _extract_embedded_stream("", associated_files[index])


def _extract_embedded_stream(key: str, specification: pikepdf.Object) -> Iterator[tuple[str, pikepdf.Stream]]:
    embedded_streams = specification.get("/EF") if isinstance(specification, pikepdf.Dictionary) else None
    if isinstance(embedded_streams, pikepdf.Dictionary):
        stated_name = specification.get("/UF", specification.get("/F", key))
        stream = embedded_streams.get("/F", embedded_streams.get("/UF"))
        if isinstance(stream, pikepdf.Stream):
            yield str(stated_name).strip("\0 \t\r\n") or key.strip("\0"), stream  # a name may end in NUL
