"""One unwrapping process as its parent sees it: bytes in, what was in them out, the parts on their way to the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from invoices.documents.containers.opened_container import NOT_INVOICE_REASONS, OpenedContainer
from invoices.documents.document_reader_process import ProcessLimits
from invoices.documents.limited_process import LimitedProcess, ProcessFailure, ResponseReader
from invoices.documents.outcomes import REASON_CODES
from invoices.documents.store_batch import StoreBatch

_MAX_MEDIA_TYPE_CHARS = 120  # characters, as the ledger keeps it
_MAX_TOTAL_PART_BYTES = 512 * 1024 * 1024  # of all parts together; what is opened keeps far below it


class ContainerOpener:
    """A child that opens one container at a time; not for several threads at once."""

    def __init__(
        self, limits: ProcessLimits, module: str = "invoices.documents.containers.container_opener_process"
    ) -> None:
        self._process = LimitedProcess(limits, module)

    def open_container(
        self, content: bytes, store_batch: StoreBatch, file_name: str | None, unpack_archives: bool
    ) -> OpenedContainer:
        """Return what was in the container, its parts in the landing; or why its process was stopped, and no part.

        Raises OSError where the landing cannot write, TransientError if no child starts.
        """
        request_header = {"length": len(content), "file_name": file_name, "unpack_archives": unpack_archives}
        request = json.dumps(request_header).encode() + b"\n" + content
        opened_container = self._process.send_request(
            request, lambda reader: _store_parts_of_response(reader, store_batch)
        )
        if isinstance(opened_container, ProcessFailure):
            reason = opened_container.reason or REASON_CODES[opened_container.reason_code][1]
            return OpenedContainer(reason_code=opened_container.reason_code, reason=reason)
        return opened_container

    def close(self) -> None:
        """End the child: politely, then not."""
        self._process.close()


@checked(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class _ResponseHeader:
    """The first line of an answer."""

    found: OpenedContainer
    lengths: Sequence[Annotated[int, Field(ge=0, le=_MAX_TOTAL_PART_BYTES)]]
    last: bool


_RESPONSE_HEADER_ADAPTER = TypeAdapter(_ResponseHeader)


@dataclass(slots=True)
class _PartStream:
    """The bytes of one part, as a landing reads them."""

    reader: ResponseReader
    remaining_bytes: int

    def read(self, size: int, /) -> bytes:
        content = self.reader.read_exactly(min(size, self.remaining_bytes))
        self.remaining_bytes -= len(content)
        return content


def _store_parts_of_response(reader: ResponseReader, store_batch: StoreBatch) -> tuple[OpenedContainer, bool]:
    """Return what the child found, its parts written. Raises ValueError over an answer that makes no sense."""
    header = _RESPONSE_HEADER_ADAPTER.validate_json(reader.read_line())
    opened_container = header.found
    if (
        len(opened_container.parts) != len(header.lengths)
        or sum(header.lengths) > _MAX_TOTAL_PART_BYTES
        or opened_container.part_hashes
        or opened_container.byte_counts
    ):
        raise ValueError("the lengths do not fit the parts")
    if any(part.skip_reason_code not in {None, *NOT_INVOICE_REASONS} for part in opened_container.parts):
        raise ValueError("a part is left out for no known reason")
    if opened_container.reason_code not in {None, *REASON_CODES} or any(
        len(part.media_type) > _MAX_MEDIA_TYPE_CHARS for part in opened_container.parts
    ):
        raise ValueError("no such reason or type is known")
    hashes = tuple(store_batch.put_file(_PartStream(reader, length))[0] for length in header.lengths)
    return replace(opened_container, part_hashes=hashes, byte_counts=tuple(header.lengths)), header.last
