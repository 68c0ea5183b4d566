"""Containers of every kind, opened with all containers in them: mail in mail, archives, signed files, winmail.dat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from invoices.documents.containers.cms_signed_file import open_cms_signed_file
from invoices.documents.containers.container_media_types import (
    ARCHIVE_TYPE,
    MAIL_TYPE,
    SIGNED_FILE_TYPE,
    TNEF_TYPE,
    is_container_type,
)
from invoices.documents.containers.opened_container import (
    NOT_INVOICE_REASONS,
    ContainerContents,
    ContainerPart,
    Flag,
    OpenedContainer,
)
from invoices.documents.containers.tnef import open_tnef_file
from invoices.documents.containers.unpack_budget import (
    MAX_CONTAINER_DEPTH,
    MAX_CONTAINER_PARTS,
    MAX_NESTED_ARCHIVES,
    UnpackBudget,
    build_limit_error,
)
from invoices.documents.containers.zip_archive import open_zip_archive
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import DocumentError

_BODY_TYPES = ("text/html", "text/plain")


def open_container_recursively(
    content: bytes,
    media_type: str,
    section: str = "",
    *,
    file_name: str | None = None,
    unpack_archives: bool = True,
    budget: UnpackBudget | None = None,
) -> ContainerContents:
    """Return everything in a container and in the containers inside it; never raises about content.

    An inner container is a part, skipped as ``container``, directly before its own parts. One that cannot be opened is
    a part like any other, with the flag ``INTAKE-CONTAINER``. If ``content`` itself cannot be opened, the result has a
    reason code; a damaged winmail.dat still gives its whole attachments. ``file_name`` names the content of a signed
    file. The limits of ``budget`` hold for everything together.
    """
    opener = _RecursiveOpener(unpack_archives, budget or UnpackBudget())
    container = ContainerPart(section, media_type, file_name)
    try:
        return opener.open_with_nested(container, content, ())
    except DocumentError as error:
        return OpenedContainer(reason_code=error.reason_code, reason=str(error)), []


@dataclass(slots=True)
class _RecursiveOpener:
    """Opens one container and everything in it, on one budget."""

    unpack_archives: bool
    budget: UnpackBudget

    def open_with_nested(
        self, container: ContainerPart, content: bytes, outer_types: Sequence[str]
    ) -> ContainerContents:
        """Return what is in ``container`` at all levels; ``outer_types`` are the types of the containers around it."""
        self._check_nesting_limits(container, outer_types)
        opened_container, contents = self._open_by_media_type(container, content)
        nested_outer_types = (*outer_types, container.media_type)
        pairs: list[tuple[ContainerPart, bytes]] = []
        skipped_body_count = opened_container.skipped_body_count
        for part, part_content in zip(opened_container.parts, contents, strict=True):
            if part.skip_reason_code or not self._can_open(part.media_type):
                pairs.append((part, part_content))
            else:
                nested_pairs, nested_body_count = self._open_nested_container(part, part_content, nested_outer_types)
                pairs += nested_pairs
                skipped_body_count += nested_body_count
        if container.media_type == MAIL_TYPE:
            kept_pairs = _drop_body_beside_container_contents(opened_container.parts, pairs)
            skipped_body_count += len(pairs) - len(kept_pairs)
            pairs = kept_pairs
        opened_container = replace(
            opened_container, parts=[part for part, _ in pairs], skipped_body_count=skipped_body_count
        )
        return opened_container, [part_content for _, part_content in pairs]

    def _open_nested_container(
        self, part: ContainerPart, content: bytes, outer_types: Sequence[str]
    ) -> tuple[list[tuple[ContainerPart, bytes]], int]:
        """Return an inner container with its parts, and the number of skipped mail texts in it."""
        try:
            opened_container, contents = self.open_with_nested(part, content, outer_types)
        except DocumentError as error:
            return [(_mark_part_unopened(part, error.reason_code, str(error)), content)], 0
        flags = (*part.flags, *opened_container.flags)
        if opened_container.reason_code:
            part = _mark_part_unopened(
                replace(part, flags=flags), opened_container.reason_code, opened_container.reason or ""
            )
        else:
            part = replace(part, skip_reason_code="container", flags=flags)
        # The innermost mail around a part names its original sender.
        sender = (opened_container.header.sender if opened_container.header else None) or part.original_sender
        children = [replace(child, original_sender=child.original_sender or sender) for child in opened_container.parts]
        return [(part, content), *zip(children, contents, strict=True)], opened_container.skipped_body_count

    def _check_nesting_limits(self, container: ContainerPart, outer_types: Sequence[str]) -> None:
        if container.media_type == ARCHIVE_TYPE and outer_types.count(ARCHIVE_TYPE) >= MAX_NESTED_ARCHIVES:
            raise build_limit_error(f"more than {MAX_NESTED_ARCHIVES} archives within each other")
        if not self.budget.remaining_parts:
            raise build_limit_error(f"more than {MAX_CONTAINER_PARTS} parts in one container")
        if len(outer_types) >= MAX_CONTAINER_DEPTH:
            raise build_limit_error(f"more than {MAX_CONTAINER_DEPTH} containers within each other")

    def _open_by_media_type(self, container: ContainerPart, content: bytes) -> ContainerContents:
        if not self._can_open(container.media_type):
            raise DocumentError(
                f"{sanitise_for_display(container.media_type)} is not a supported container",
                reason_code="unsupported_type",
            )
        if container.media_type == ARCHIVE_TYPE:
            return open_zip_archive(content, container.section, self.budget)
        if container.media_type == SIGNED_FILE_TYPE:
            return open_cms_signed_file(content, container.section, self.budget, container.file_name)
        if container.media_type == TNEF_TYPE:
            return open_tnef_file(content, container.section, self.budget)
        return self._open_mail_within_budget(content, container.section)

    def _can_open(self, media_type: str) -> bool:
        return is_container_type(media_type) and (media_type != ARCHIVE_TYPE or self.unpack_archives)

    def _open_mail_within_budget(self, content: bytes, section: str) -> ContainerContents:
        from invoices.documents.containers.mail import (
            open_mail,
        )  # here, because only mail needs the library's mail package

        opened_container, contents = open_mail(content, section)
        self.budget.consume_bytes(sum(len(part_content) for part_content in contents))
        self.budget.consume_parts(len(contents))
        return opened_container, contents


def _mark_part_unopened(part: ContainerPart, reason_code: str, reason: str) -> ContainerPart:
    """Return an inner container that was not opened: skipped by rule, or with a flag that states why."""
    if reason_code in NOT_INVOICE_REASONS:
        return replace(part, skip_reason_code=reason_code)
    flag = Flag(
        "INTAKE-CONTAINER",
        f"{sanitise_for_display(part.file_name or part.media_type)!r} was not opened completely: {reason}",
    )
    return replace(part, flags=(*part.flags, flag))


def _drop_body_beside_container_contents(
    direct_parts: Sequence[ContainerPart], pairs: list[tuple[ContainerPart, bytes]]
) -> list[tuple[ContainerPart, bytes]]:
    """Return the parts of a mail, without its body text if a part of a container beside it may be the invoice.

    A part is the mail's body text if it has no name and is the only part that is neither skipped nor a container.
    """
    plain_parts = [
        part for part in direct_parts if not part.skip_reason_code and not is_container_type(part.media_type)
    ]
    if len(plain_parts) != 1 or plain_parts[0].file_name is not None or plain_parts[0].media_type not in _BODY_TYPES:
        return pairs
    if all(part.skip_reason_code or part is plain_parts[0] for part, _ in pairs):
        return pairs
    return [(part, part_content) for part, part_content in pairs if part is not plain_parts[0]]
