"""A mail taken apart: what it says of itself, every document in it, and what is left out by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.kinds import is_container
from invoices.documents.unwrapping.mail_deciding import Seen, invoice_body, left_out, look
from invoices.documents.unwrapping.mail_header import read_header, sender_of
from invoices.documents.unwrapping.mail_names import LONGEST_NAME, oddities
from invoices.documents.unwrapping.mail_structure import MAX_PARTS, Entity, Leaf, MailLimits, leaves, take_apart
from invoices.documents.unwrapping.mail_words import whole_characters
from invoices.documents.unwrapping.parts import Found, Part, Unwrapped
from invoices.documents.unwrapping.transfer_encoding import uuencoded_files

# The content types of encrypted data in DER: enveloped (RFC 5652 §6.1) and authenticated-enveloped (RFC 5083 §2.1).
_ENVELOPED = (bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("060b2a864886f70d0109100117"))
_PGP = b"-----BEGIN PGP MESSAGE-----"

_Parts = list[tuple[Part, bytes]]


def open_mail(content: bytes, section: str = "") -> Found:
    """Return what is in a mail (RFC 5322, MIME), and the bytes of each part; raises nothing but MemoryError.

    ``section`` is the place of the mail in what it was found in, empty where it came by itself. The reason codes are
    ``mail_limits``, ``damaged_mail`` and ``encrypted_mail``; with one of them there are no parts. A text that reads
    like an invoice is the last part where all others are left out, or containers with who knows what in them.
    """
    try:
        return _opened(content, f"{section}/" if section else "")
    except MailLimits as error:
        return Unwrapped(reason_code="mail_limits", reason=str(error)), ()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a mail does to the parser, only this mail is set aside for it
        return Unwrapped(reason_code="damaged_mail", reason=f"taking the mail apart failed: {type(error).__name__}"), ()


def _opened(content: bytes, prefix: str) -> Found:
    mail = take_apart(content)
    if not mail.keys():
        return Unwrapped(reason_code="damaged_mail", reason="it has no header, so it is no mail"), ()
    header, flags = read_header(mail)
    unwrapped = Unwrapped(header=header, flags=flags)
    all_leaves = list(leaves(mail))
    if all_leaves[0].entity.parent is None and all_leaves[0].entity.has_multipart_type():
        return replace(unwrapped, reason_code="damaged_mail", reason="its parts cannot be told apart"), ()
    seen = [one for leaf in all_leaves if (one := look(leaf))]
    parts = _parts(mail, seen, prefix)
    bodies = sum(one.is_body for one in seen)
    sealed = {prefix + one.leaf.section for one in seen if _is_sealed(one)}
    if sealed and all(part.left_out or part.section in sealed for part, _ in parts):
        return replace(unwrapped, reason_code="encrypted_mail", reason="only who has the key can read it"), ()
    for body in _invoice_bodies(mail, seen, [part for part, _ in parts], prefix):
        parts.append((_body_part(mail, body, prefix), body.leaf.content))
        bodies -= 1
    return replace(unwrapped, parts=[part for part, _ in parts], bodies=bodies), [content for _, content in parts]


def _parts(mail: Entity, seen: Sequence[Seen], prefix: str) -> _Parts:
    """Return all parts but the texts; a text may hold files of its own."""
    parts: _Parts = []
    for one, code in zip(seen, left_out(seen), strict=True):
        if one.is_body:
            parts += _written_into(mail, one, prefix, MAX_PARTS - len(parts))
        else:
            part = Part(
                section=prefix + one.leaf.section,
                media_type=one.content_type,
                file_name=next(iter(one.names), None),
                declared_type=one.declared[:LONGEST_NAME],
                left_out=code,
                original_sender=_original_sender(mail, one.leaf),
                flags=oddities(one.names, one.declared, one.content_type),
            )
            parts.append((part, one.leaf.content))
    return parts


def _written_into(mail: Entity, body: Seen, prefix: str, limit: int) -> _Parts:
    """Return the files that are uuencoded within a text."""
    parts: _Parts = []
    for number, (name, content) in enumerate(uuencoded_files(body.leaf.content, limit), 1):
        name, content_type = whole_characters(name)[:LONGEST_NAME], media_type(content)
        part = Part(
            section=f"{prefix}{body.leaf.section}/{number}",
            media_type=content_type,
            file_name=name,
            original_sender=_original_sender(mail, body.leaf),
            flags=oddities([name], "", content_type),
        )
        parts.append((part, content))
    return parts


def _body_part(mail: Entity, body: Seen, prefix: str) -> Part:
    return Part(
        section=prefix + body.leaf.section,
        media_type="text/html" if body.declared == "text/html" else "text/plain",
        declared_type=body.declared,
        original_sender=_original_sender(mail, body.leaf),
    )


def _invoice_bodies(mail: Entity, seen: Sequence[Seen], parts: Sequence[Part], prefix: str) -> list[Seen]:
    """Return the text that reads like an invoice of each mail that has no document, nor has a mail within it."""
    documents = {
        part.section.removeprefix(prefix).partition("/")[0]
        for part in parts
        if not part.left_out and not is_container(part.media_type)
    }
    has_one = {around for one in seen if one.leaf.section in documents for around in _mails_around(mail, one.leaf.mail)}
    bodies: list[Seen] = []
    for inner in sorted(dict.fromkeys(one.leaf.mail for one in seen), key=lambda one: -one.depth):
        body = None if inner in has_one else invoice_body([one for one in seen if one.leaf.mail is inner])
        if body:
            bodies.append(body)
            has_one |= _mails_around(mail, inner)
    return sorted(bodies, key=seen.index)


def _mails_around(mail: Entity, inner: Entity) -> set[Entity]:
    """Return a mail and whatever it is in, the whole ``mail`` included."""
    around, entity = {mail}, inner
    while entity.parent is not None:
        around.add(entity)
        entity = entity.parent
    return around


def _original_sender(mail: Entity, leaf: Leaf) -> str | None:
    return None if leaf.mail is mail else sender_of(leaf.mail)


def _is_sealed(one: Seen) -> bool:
    """Return whether a leaf is encrypted text of a mail, by S/MIME or PGP."""
    if one.is_body:
        return one.leaf.content[:200].lstrip().startswith(_PGP)
    if one.declared in {"application/pkcs7-mime", "application/x-pkcs7-mime"}:
        kind = str(one.leaf.entity.get_param("smime-type", "")).lower()
        return "enveloped" in kind or any(oid in one.leaf.content[:64] for oid in _ENVELOPED)
    return one.leaf.around == "multipart/encrypted"
