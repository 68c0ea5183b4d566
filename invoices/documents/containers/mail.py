"""Opening a mail: its header, every document in it, and the parts that are skipped by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invoices.documents.containers.container_media_types import is_container_type
from invoices.documents.containers.mail_encoded_words import replace_lone_surrogates
from invoices.documents.containers.mail_file_names import MAX_FILE_NAME_CHARS, check_names_and_types
from invoices.documents.containers.mail_header import find_sender_address, parse_mail_header
from invoices.documents.containers.mail_leaf_classification import (
    ClassifiedLeaf,
    classify_leaf,
    extract_body_text,
    find_invoice_body,
    list_skip_reason_codes,
)
from invoices.documents.containers.mime_tree import (
    MAX_MAIL_PARTS,
    MailLimitError,
    MimeEntity,
    MimeLeaf,
    parse_mail,
    walk_leaves,
)
from invoices.documents.containers.missing_attachment import announces_attached_invoice
from invoices.documents.containers.opened_container import ContainerContents, ContainerPart, OpenedContainer
from invoices.documents.containers.transfer_encoding import extract_uuencoded_files
from invoices.documents.content_sniffing import detect_media_type
from invoices.documents.outcomes import REASON_CODES

# The content types of encrypted data in DER: enveloped (RFC 5652 §6.1) and authenticated-enveloped (RFC 5083 §2.1).
_ENCRYPTED_DATA_OIDS = (bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("060b2a864886f70d0109100117"))
_PGP_MESSAGE_START = b"-----BEGIN PGP MESSAGE-----"

_PartsWithContent = list[tuple[ContainerPart, bytes]]


def open_mail(content: bytes, section: str = "") -> ContainerContents:
    """Return what is in a mail (RFC 5322, MIME), and the bytes of each part; raises only MemoryError.

    ``section`` is the section of the mail in its container, empty for a mail that is not in one. The reason codes are
    ``mail_limits``, ``damaged_mail`` and ``encrypted_mail``; with one of them there are no parts. A mail without
    a document that says that an invoice is attached has ``attachment_missing``. A text that reads like an invoice is
    the last part if all other parts are skipped or are unopened containers.
    """
    try:
        return _parse_and_open_mail(content, f"{section}/" if section else "")
    except MailLimitError as error:
        return OpenedContainer(reason_code="mail_limits", reason=str(error)), ()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is a result for this mail
        reason = f"parsing the mail failed: {type(error).__name__}"
        return OpenedContainer(reason_code="damaged_mail", reason=reason), ()


def _parse_and_open_mail(content: bytes, section_prefix: str) -> ContainerContents:
    mail = parse_mail(content)
    if not mail.keys():
        return OpenedContainer(reason_code="damaged_mail", reason="it has no header, so it is not a mail"), ()
    header, flags = parse_mail_header(mail)
    opened_container = OpenedContainer(header=header, flags=flags)
    all_leaves = list(walk_leaves(mail))
    if all_leaves[0].entity.parent is None and all_leaves[0].entity.has_multipart_type():
        return replace(opened_container, reason_code="damaged_mail", reason="its parts cannot be separated"), ()
    classified_leaves = [classified_leaf for leaf in all_leaves if (classified_leaf := classify_leaf(leaf))]
    parts = _build_document_parts(mail, classified_leaves, section_prefix)
    skipped_body_count = sum(classified_leaf.is_body for classified_leaf in classified_leaves)
    encrypted_sections = {
        section_prefix + encrypted_leaf.leaf.section for encrypted_leaf in filter(_is_encrypted_leaf, classified_leaves)
    }
    if encrypted_sections and all(part.skip_reason_code or part.section in encrypted_sections for part, _ in parts):
        return replace(
            opened_container,
            reason_code="encrypted_mail",
            reason="reading it requires the private key of its recipient",
        ), ()
    for body in _find_invoice_bodies(mail, classified_leaves, [part for part, _ in parts], section_prefix):
        parts.append((_build_body_part(mail, body, section_prefix), body.leaf.content))
        skipped_body_count -= 1
    opened_container = replace(
        opened_container, parts=[part for part, _ in parts], skipped_body_count=skipped_body_count
    )
    if _lacks_announced_invoice(opened_container, classified_leaves):
        reason = REASON_CODES["attachment_missing"][1]
        opened_container = replace(opened_container, reason_code="attachment_missing", reason=reason)
    return opened_container, [part_content for _, part_content in parts]


def _build_document_parts(
    mail: MimeEntity, classified_leaves: Sequence[ClassifiedLeaf], section_prefix: str
) -> _PartsWithContent:
    """Return all parts but the texts, and the files that are uuencoded in a text."""
    parts: _PartsWithContent = []
    for classified_leaf, skip_reason_code in zip(
        classified_leaves, list_skip_reason_codes(classified_leaves), strict=True
    ):
        if classified_leaf.is_body:
            parts += _extract_uuencoded_parts(mail, classified_leaf, section_prefix, MAX_MAIL_PARTS - len(parts))
        else:
            part = ContainerPart(
                section=section_prefix + classified_leaf.leaf.section,
                media_type=classified_leaf.content_type,
                file_name=next(iter(classified_leaf.file_names), None),
                declared_type=classified_leaf.declared_type[:MAX_FILE_NAME_CHARS],
                skip_reason_code=skip_reason_code,
                original_sender=_find_original_sender(mail, classified_leaf.leaf),
                flags=check_names_and_types(
                    classified_leaf.file_names, classified_leaf.declared_type, classified_leaf.content_type
                ),
            )
            parts.append((part, classified_leaf.leaf.content))
    return parts


def _extract_uuencoded_parts(
    mail: MimeEntity, body: ClassifiedLeaf, section_prefix: str, limit: int
) -> _PartsWithContent:
    """Return the files that are uuencoded in a text."""
    parts: _PartsWithContent = []
    for number, (name, content) in enumerate(extract_uuencoded_files(body.leaf.content, limit), 1):
        name, content_type = replace_lone_surrogates(name)[:MAX_FILE_NAME_CHARS], detect_media_type(content)
        part = ContainerPart(
            section=f"{section_prefix}{body.leaf.section}/{number}",
            media_type=content_type,
            file_name=name,
            original_sender=_find_original_sender(mail, body.leaf),
            flags=check_names_and_types([name], "", content_type),
        )
        parts.append((part, content))
    return parts


def _build_body_part(mail: MimeEntity, body: ClassifiedLeaf, section_prefix: str) -> ContainerPart:
    return ContainerPart(
        section=section_prefix + body.leaf.section,
        media_type="text/html" if body.declared_type == "text/html" else "text/plain",
        declared_type=body.declared_type,
        original_sender=_find_original_sender(mail, body.leaf),
    )


def _find_invoice_bodies(
    mail: MimeEntity, classified_leaves: Sequence[ClassifiedLeaf], parts: Sequence[ContainerPart], section_prefix: str
) -> list[ClassifiedLeaf]:
    """Return the text that reads like an invoice of each mail without a document in it or in a mail inside it."""
    document_sections = {
        part.section.removeprefix(section_prefix).partition("/")[0]
        for part in parts
        if not part.skip_reason_code and not is_container_type(part.media_type)
    }
    mails_with_document = {
        enclosing_mail
        for classified_leaf in classified_leaves
        if classified_leaf.leaf.section in document_sections
        for enclosing_mail in _list_enclosing_mails(mail, classified_leaf.leaf.mail)
    }
    bodies: list[ClassifiedLeaf] = []
    all_mails = dict.fromkeys(classified_leaf.leaf.mail for classified_leaf in classified_leaves)
    for inner_mail in sorted(all_mails, key=lambda entity: -entity.depth):
        if inner_mail in mails_with_document:
            continue
        body = find_invoice_body(
            [classified_leaf for classified_leaf in classified_leaves if classified_leaf.leaf.mail is inner_mail]
        )
        if body:
            bodies.append(body)
            mails_with_document |= _list_enclosing_mails(mail, inner_mail)
    return sorted(bodies, key=classified_leaves.index)


def _lacks_announced_invoice(opened_mail: OpenedContainer, classified_leaves: Sequence[ClassifiedLeaf]) -> bool:
    """Return whether a mail without any document says that an invoice is attached; reports of servers do not count."""
    if any(part.skip_reason_code in (None, "delivery_report") for part in opened_mail.parts):
        return False
    subject = opened_mail.header.subject if opened_mail.header else None
    return any(
        announces_attached_invoice(subject, extract_body_text(body)) for body in classified_leaves if body.is_body
    )


def _list_enclosing_mails(mail: MimeEntity, inner_mail: MimeEntity) -> set[MimeEntity]:
    """Return ``inner_mail`` and everything around it, up to and including ``mail``."""
    enclosing_mails, entity = {mail}, inner_mail
    while entity.parent is not None:
        enclosing_mails.add(entity)
        entity = entity.parent
    return enclosing_mails


def _find_original_sender(mail: MimeEntity, leaf: MimeLeaf) -> str | None:
    return None if leaf.mail is mail else find_sender_address(leaf.mail)


def _is_encrypted_leaf(classified_leaf: ClassifiedLeaf) -> bool:
    """Return whether a leaf is the encrypted content of a mail, by S/MIME or PGP."""
    if classified_leaf.is_body:
        return classified_leaf.leaf.content[:200].lstrip().startswith(_PGP_MESSAGE_START)
    if classified_leaf.declared_type in {"application/pkcs7-mime", "application/x-pkcs7-mime"}:
        smime_type = str(classified_leaf.leaf.entity.get_param("smime-type", "")).lower()
        return "enveloped" in smime_type or any(
            oid in classified_leaf.leaf.content[:64] for oid in _ENCRYPTED_DATA_OIDS
        )
    return classified_leaf.leaf.parent_type == "multipart/encrypted"
