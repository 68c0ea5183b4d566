"""The files inside an e-invoice: taken out, typed by content, opened if they are containers, searched for threats.

Elements: UBL ``EmbeddedDocumentBinaryObject`` and CII ``AttachmentBinaryObject`` (BT-125), FatturaPA ``Allegati``
(2.5), Facturae ``AttachmentData``, base64 in the free areas of CFDI (``Addenda``) and of other formats (``Extension``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from invoices.documents.containers.container_media_types import is_container_type
from invoices.documents.containers.mail_file_names import MAX_FILE_NAME_CHARS, check_names_and_types
from invoices.documents.containers.opened_container import ContainerPart, Flag, OpenedContainer
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.containers.transfer_encoding import decode_transfer_encoding
from invoices.documents.containers.unpack_budget import MAX_EINVOICE_DEPTH, UnpackBudget
from invoices.documents.content_sniffing import EXECUTABLE_TYPE, OFFICE_TYPES, detect_media_type
from invoices.documents.einvoice.xml_tree import Element, find_text, get_local_name, parse_untrusted_xml
from invoices.documents.embedded_threats import MAX_FLAGS, add_threats, build_threat
from invoices.documents.malware import find_threat_in_content
from invoices.documents.outcomes import DocumentReading, add_flags, sanitise_for_display
from invoices.errors import DocumentError

MAX_EMBEDDED_FILES = 100
MAX_EMBEDDED_BYTES = 60 * 1024 * 1024  # of everything in one e-invoice, unpacked; a reader has little memory

_XML_TYPE = "application/xml"
_BASE64_PATTERN = re.compile(r"[A-Za-z0-9+/=\s_-]*")
_MIN_FREE_AREA_CHARS = 200  # of a base64 text in a free area
_FREE_AREA_TYPES = frozenset({
    "application/pdf", "image/png", "image/jpeg", "image/tiff", "application/zip", _XML_TYPE, EXECUTABLE_TYPE,
    *OFFICE_TYPES,
})  # fmt: skip
_TECHNICAL_REFERENCES = frozenset({"QR", "PIH", "ICV"})  # of ZATCA: a code, a hash and a counter, no files


@dataclass(slots=True)
class EmbeddedFiles:
    """The files of one e-invoice with their bytes, why some are dangerous, and why some could not be taken out."""

    parts: list[ContainerPart] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    threats: list[tuple[str, str]] = field(default_factory=list)  # name of the doubt, message
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _EncodedFile:
    name: str | None
    declared_type: str
    base64_text: str
    is_certain: bool  # False for a text in a free area, which is a file only if its bytes look like one


def add_embedded_files(reading: DocumentReading, root: Element) -> DocumentReading:
    """Return the reading of an e-invoice with the files inside it; what is dangerous becomes a doubt or a flag."""
    files = extract_embedded_files(root)
    if not (files.parts or files.problems or files.threats):
        return reading
    reading = add_threats(reading, files.threats)
    reading = add_flags(reading, *(("FILE-EMBEDDED", problem) for problem in files.problems[:MAX_FLAGS]))
    if reading.payload is not None and files.parts:
        names = [part.file_name or part.media_type for part in files.parts if "/" not in part.section]
        reading = replace(reading, payload={**reading.payload, "attachments": names})
    return replace(reading, embedded_files=OpenedContainer(parts=files.parts), embedded_contents=files.contents)


def extract_embedded_files(root: Element) -> EmbeddedFiles:
    """Return the files inside an e-invoice, and those in the containers among them; never raises about content."""
    files, budget = EmbeddedFiles(), UnpackBudget(remaining_bytes=MAX_EMBEDDED_BYTES)
    _extract_from_tree(root, files, budget, depth=1)
    return files


def _extract_from_tree(root: Element, files: EmbeddedFiles, budget: UnpackBudget, depth: int) -> None:
    """Add the files of a tree; of an e-invoice inside, only threats, since it is read as a document of its own."""
    number = 0
    for encoded_file in _iter_encoded_files(root):
        name = sanitise_for_display(encoded_file.name or "without a name")
        is_base64 = _BASE64_PATTERN.fullmatch(encoded_file.base64_text) is not None
        content = _decode_base64(encoded_file.base64_text, budget) if is_base64 else None
        media_type = detect_media_type(content) if content else None
        if not encoded_file.is_certain and media_type not in _FREE_AREA_TYPES:
            continue
        number += 1
        if number > MAX_EMBEDDED_FILES:
            files.problems.append(f"more than {MAX_EMBEDDED_FILES} embedded files; the others were not taken out")
            return
        if not content or media_type is None:
            cause = "is not base64" if not is_base64 else "is empty" if content == b"" else "is too large"
            files.problems.append(f"the embedded file {name!r} {cause}; it was not taken out")
            continue
        part = ContainerPart(
            str(number), media_type, encoded_file.name, encoded_file.declared_type,
            flags=check_names_and_types([encoded_file.name or ""][: bool(encoded_file.name)],
                                        encoded_file.declared_type, media_type),
        )  # fmt: skip
        for opened_part, opened_content in _open_container(part, content, budget):
            _check_file(opened_part, opened_content, files, budget, depth)
            if depth == 1:
                files.parts.append(opened_part)
                files.contents.append(opened_content)


def _check_file(part: ContainerPart, content: bytes, files: EmbeddedFiles, budget: UnpackBudget, depth: int) -> None:
    """Add the threats of one file, and of the files inside it if it is XML."""
    threat_code = find_threat_in_content(content, part.media_type)
    threat_code = threat_code or ("executable" if part.media_type == EXECUTABLE_TYPE else None)
    if threat_code:
        files.threats.append(build_threat(part.file_name, threat_code))
    elif part.media_type == _XML_TYPE and depth <= MAX_EINVOICE_DEPTH:
        try:
            root = parse_untrusted_xml(content)
        except DocumentError:
            return  # the document itself gets the reason when it is read
        _extract_from_tree(root, files, budget, depth + 1)


def _open_container(part: ContainerPart, content: bytes, budget: UnpackBudget) -> list[tuple[ContainerPart, bytes]]:
    """Return the file, followed by what is in it if it is a container; one that cannot be opened gets a flag."""
    if not is_container_type(part.media_type):
        return [(part, content)]
    container, contents = open_container_recursively(
        content, part.media_type, part.section, file_name=part.file_name, budget=budget
    )
    if container.reason_code:
        reason = f"{sanitise_for_display(part.file_name or part.media_type)!r} was not opened: {container.reason}"
        return [(replace(part, flags=(*part.flags, Flag("INTAKE-CONTAINER", reason))), content)]
    return [
        (replace(part, skip_reason_code="container"), content), *zip(container.parts, contents, strict=True)
    ]  # fmt: skip


def _decode_base64(text: str, budget: UnpackBudget) -> bytes | None:
    """Return the decoded bytes; None if the budget of the e-invoice is used up."""
    try:
        budget.consume_parts(1)
        budget.consume_bytes(len(text) * 3 // 4)
    except DocumentError:
        return None
    return decode_transfer_encoding(text.replace("-", "+").replace("_", "/").encode("ascii"), "base64")


def _iter_encoded_files(root: Element) -> Iterator[_EncodedFile]:
    for element in root.iter("*"):
        name = get_local_name(element)
        if name == "EmbeddedDocumentBinaryObject":
            reference = element.getparent()
            reference_id = _find_sibling_text(None if reference is None else reference.getparent(), "ID")
            if reference_id not in _TECHNICAL_REFERENCES:
                yield _build_encoded_file(element, element.get("filename") or reference_id, element.get("mimeCode"))
        elif name == "AttachmentBinaryObject":
            reference_id = _find_sibling_text(element.getparent(), "IssuerAssignedID")
            yield _build_encoded_file(element, element.get("filename") or reference_id, element.get("mimeCode"))
        elif name == "Attachment" and _get_parent_name(element) == "Allegati":
            parent = element.getparent()
            file_name = _find_sibling_text(parent, "NomeAttachment")
            yield _build_encoded_file(element, file_name, _find_sibling_text(parent, "FormatoAttachment"))
        elif name == "AttachmentData" and _get_parent_name(element) == "Attachment":
            parent = element.getparent()
            file_name = _find_sibling_text(parent, "AttachmentDescription")
            yield _build_encoded_file(element, file_name, _find_sibling_text(parent, "AttachmentFormat"))
        elif _is_free_area(name) and not _is_free_area(_get_parent_name(element)):
            yield from _iter_free_area_files(element)


def _is_free_area(name: str) -> bool:
    """Return whether a format leaves open what is below an element of this name."""
    return name.endswith(("Addenda", "Extension", "Extensions"))


def _iter_free_area_files(area: Element) -> Iterator[_EncodedFile]:
    """Yield the long base64 texts and attributes below an element whose content its format leaves open."""
    for element in area.iter("*"):
        names = [str(value) for key, value in element.attrib.items() if "name" in str(key).rpartition("}")[2].lower()]
        for text in (element.text or "", *map(str, element.attrib.values())):
            if len(text) >= _MIN_FREE_AREA_CHARS and get_local_name(element) != "EmbeddedDocumentBinaryObject":
                file_name = next(iter(names), get_local_name(element))[:MAX_FILE_NAME_CHARS]
                yield _EncodedFile(file_name, "", text, is_certain=False)


def _build_encoded_file(element: Element, name: str | None, declared_type: str | None) -> _EncodedFile:
    file_name = (name or "").strip()[:MAX_FILE_NAME_CHARS] or None
    return _EncodedFile(file_name, (declared_type or "").strip().lower()[:120], element.text or "", is_certain=True)


def _get_parent_name(element: Element) -> str:
    parent = element.getparent()
    return "" if parent is None else get_local_name(parent)


def _find_sibling_text(parent: Element | None, name: str) -> str | None:
    return find_text(parent, f"{{*}}{name}")
