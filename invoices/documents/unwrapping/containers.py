"""Containers of every kind, opened with all that they hold: mail in mail, archives, signed files, winmail.dat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from invoices.documents.outcomes import shown
from invoices.documents.unwrapping.archives import open_archive
from invoices.documents.unwrapping.budget import MAX_ARCHIVES, MAX_DEPTH, MAX_PARTS, Budget, beyond
from invoices.documents.unwrapping.kinds import ARCHIVE, MAIL, SIGNED, TNEF, is_container
from invoices.documents.unwrapping.parts import LEFT_OUT, Flag, Found, Header, Part, Unwrapped
from invoices.documents.unwrapping.signed import open_signed
from invoices.documents.unwrapping.tnef import open_tnef
from invoices.errors import DocumentError

_BODIES = ("text/html", "text/plain")


def unwrap(
    content: bytes,
    media_type: str,
    section: str = "",
    *,
    file_name: str | None = None,
    unpack_archives: bool = True,
    budget: Budget | None = None,
) -> Found:
    """Return everything that is in a container, and in the containers in it; it never raises about content.

    A container within is a part, left out as ``container``, directly before what was in it. One that cannot be opened
    is a part like any other, with the flag ``INTAKE-CONTAINER``, and the rest goes on. If ``content`` itself cannot be
    opened there is a reason code; of a broken winmail.dat the whole attachments come with it. ``file_name`` names what
    was signed in a signed file. The limits of ``budget`` hold over all of it together.
    """
    opening = _Opening(unpack_archives, budget or Budget())
    top = Part(section, media_type, file_name)
    try:
        return opening.open(top, content, ())
    except DocumentError as error:
        return Unwrapped(reason_code=error.reason_code, reason=str(error)), []


@dataclass(slots=True)
class _Opening:
    """Everything that is opened for one container, on one budget."""

    unpack_archives: bool
    budget: Budget

    def open(self, container: Part, content: bytes, around: Sequence[str]) -> Found:
        """Return what is in ``container`` and below; ``around`` are the media types of the containers around it."""
        self._check_depth(container, around)
        found, contents = self._open_one(container, content)
        inner = (*around, container.media_type)
        pairs: list[tuple[Part, bytes]] = []
        bodies = found.bodies
        for part, data in zip(found.parts, contents, strict=True):
            if part.left_out or not self._opens(part.media_type):
                pairs.append((part, data))
            else:
                opened, more = self._open_within(part, data, inner)
                pairs += opened
                bodies += more
        if container.media_type == MAIL:
            kept = _without_body(found.parts, pairs)
            bodies += len(pairs) - len(kept)
            pairs = kept
        return replace(found, parts=[part for part, _ in pairs], bodies=bodies), [data for _, data in pairs]

    def _open_within(self, part: Part, content: bytes, around: Sequence[str]) -> tuple[list[tuple[Part, bytes]], int]:
        """Return a container within and what is in it, and how many texts of mails were in it that are no parts."""
        try:
            found, contents = self.open(part, content, around)
        except DocumentError as error:
            return [(_unopened(part, error.reason_code, str(error)), content)], 0
        flags = (*part.flags, *found.flags)
        if found.reason_code:
            part = _unopened(replace(part, flags=flags), found.reason_code, found.reason or "")
        else:
            part = replace(part, left_out="container", flags=flags)
        children = [_from(part, found.header, child) for child in found.parts]
        return [(part, content), *zip(children, contents, strict=True)], found.bodies

    def _check_depth(self, container: Part, around: Sequence[str]) -> None:
        if container.media_type == ARCHIVE and around.count(ARCHIVE) >= MAX_ARCHIVES:
            raise beyond(f"more than {MAX_ARCHIVES} archives within each other")
        if not self.budget.parts:
            raise beyond(f"more than {MAX_PARTS} parts in one container")
        if len(around) >= MAX_DEPTH:
            raise beyond(f"more than {MAX_DEPTH} containers within each other")

    def _open_one(self, container: Part, content: bytes) -> Found:
        if not self._opens(container.media_type):
            raise DocumentError(f"{shown(container.media_type)} is not opened here", reason_code="unsupported_type")
        if container.media_type == ARCHIVE:
            return open_archive(content, container.section, self.budget)
        if container.media_type == SIGNED:
            return open_signed(content, container.section, self.budget, container.file_name)
        if container.media_type == TNEF:
            return open_tnef(content, container.section, self.budget)
        return self._open_mail(content, container.section)

    def _opens(self, media_type: str) -> bool:
        return is_container(media_type) and (media_type != ARCHIVE or self.unpack_archives)

    def _open_mail(self, content: bytes, section: str) -> Found:
        from invoices.documents.unwrapping.mail import open_mail  # only mail needs the standard library's mail package

        found, contents = open_mail(content, section)
        self.budget.take_bytes(sum(len(data) for data in contents))
        self.budget.take_parts(len(contents))
        return found, contents


def _unopened(part: Part, reason_code: str, reason: str) -> Part:
    """Return a container as it is judged by itself: with a flag that says why it stayed closed, or left out by rule."""
    if reason_code in LEFT_OUT:
        return replace(part, left_out=reason_code)
    flag = Flag("INTAKE-CONTAINER", f"{shown(part.file_name or part.media_type)!r} was not opened whole: {reason}")
    return replace(part, flags=(*part.flags, flag))


def _from(container: Part, header: Header | None, child: Part) -> Part:
    """Return a part with the sender of the innermost mail around it."""
    sender = child.original_sender or (header.sender if header else None) or container.original_sender
    return replace(child, original_sender=sender)


def _without_body(direct: Sequence[Part], pairs: list[tuple[Part, bytes]]) -> list[tuple[Part, bytes]]:
    """Return the parts of a mail, without its own text where anything in a container beside it may be the invoice.

    A text is the mail's own where it has no name and is all that is left beside the containers.
    """
    plain = [part for part in direct if not part.left_out and not is_container(part.media_type)]
    if len(plain) != 1 or plain[0].file_name is not None or plain[0].media_type not in _BODIES:
        return pairs
    if all(part.left_out or part is plain[0] for part, _ in pairs):
        return pairs
    return [(part, data) for part, data in pairs if part is not plain[0]]
