"""The parent's side of one opener process: a container in, its description out, its parts into a store batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as validated_dataclass

from invoices.documents.child_process import ProcessLimits
from invoices.documents.containers.opened_container import NOT_INVOICE_REASONS, OpenedContainer
from invoices.documents.content_sniffing import UNKNOWN_TYPE
from invoices.documents.limited_process import LimitedProcess, ProcessFailure, ResponseReader
from invoices.documents.outcomes import REASON_CODES
from invoices.documents.store_batch import StoreBatch
from invoices.errors import DocumentError

_MAX_MEDIA_TYPE_CHARS = 120  # as in the ledger
_MAX_TOTAL_PART_BYTES = 512 * 1024 * 1024  # of all parts together, far above the limits of the opener


class ContainerOpener:
    """A child that opens one container at a time; not thread-safe."""

    def __init__(
        self, limits: ProcessLimits, module: str = "invoices.documents.containers.container_opener_process"
    ) -> None:
        self._process = LimitedProcess(limits, module)

    def open_container(
        self,
        content: bytes,
        store_batch: StoreBatch,
        file_name: str | None,
        unpack_archives: bool,
        *,
        is_mail: bool = False,
    ) -> OpenedContainer:
        """Return the opened container, its parts put into the batch; or, without parts, why its process was stopped.

        ``is_mail`` opens the content as a mail, whatever its bytes look like. Raises OSError if the batch cannot write,
        TransientError if no child starts.
        """
        request_header = {"file_name": file_name, "unpack_archives": unpack_archives, "is_mail": is_mail}
        request = _build_request("open", content, **request_header)
        opened_container = self._process.send_request(
            request, lambda reader: store_parts_of_response(reader, store_batch)
        )
        if isinstance(opened_container, ProcessFailure):
            reason = opened_container.reason or REASON_CODES[opened_container.reason_code][1]
            return OpenedContainer(reason_code=opened_container.reason_code, reason=reason)
        return opened_container

    def detect_file_type(self, head: bytes) -> str:
        """Return the media type of a file by its first bytes; of bytes that stop the process, the unknown type.

        Raises TransientError if no child starts.
        """
        media_type = self._process.send_request(_build_request("detect_file_type", head), _parse_media_type_response)
        return UNKNOWN_TYPE if isinstance(media_type, ProcessFailure) else media_type

    def match_mbox(self, operation: str, content: bytes, **options: object) -> MboxMatch:
        """Return what an operation of ``mbox_format`` finds in the bytes of an mbox.

        Raises DocumentError if the process is stopped, TransientError if no child starts.
        """
        result = self._process.send_request(_build_request(operation, content, **options), _parse_mbox_response)
        if isinstance(result, ProcessFailure):
            reason = result.reason or REASON_CODES[result.reason_code][1]
            raise DocumentError(f"the mbox cannot be read: {reason}", reason_code=result.reason_code)
        return result

    def close(self) -> None:
        """End the child: close its input, and kill it if it does not end."""
        self._process.close()


@validated_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class _ResponseHeader:
    """The first line of a response."""

    opened_container: OpenedContainer
    part_lengths: Sequence[Annotated[int, Field(ge=0, le=_MAX_TOTAL_PART_BYTES)]]
    is_last: bool


@validated_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class _MediaTypeResponse:
    """The response to the request for the type of a file."""

    media_type: Annotated[str, Field(max_length=_MAX_MEDIA_TYPE_CHARS)]
    is_last: bool


@validated_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class _MboxResponse:
    """The first line of the response to a request about an mbox."""

    positions: Sequence[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]]
    length: Annotated[int, Field(ge=0, le=_MAX_TOTAL_PART_BYTES)]
    is_last: bool


@dataclass(frozen=True, slots=True)
class MboxMatch:
    """Where mails end and begin in a block of an mbox, or the changed bytes of a mail."""

    positions: Sequence[tuple[int, int]]
    content: bytes


_MBOX_RESPONSE_ADAPTER = TypeAdapter(_MboxResponse)
_RESPONSE_HEADER_ADAPTER = TypeAdapter(_ResponseHeader)
_MEDIA_TYPE_RESPONSE_ADAPTER = TypeAdapter(_MediaTypeResponse)


@dataclass(slots=True)
class _PartStream:
    """The bytes of one part, as a ``ByteSource`` of a store batch."""

    reader: ResponseReader
    remaining_bytes: int

    def read(self, size: int, /) -> bytes:
        content = self.reader.read_exactly(min(size, self.remaining_bytes))
        self.remaining_bytes -= len(content)
        return content


def _build_request(operation: str, content: bytes, **options: object) -> bytes:
    return json.dumps({"operation": operation, "length": len(content), **options}).encode() + b"\n" + content


def _parse_media_type_response(reader: ResponseReader) -> tuple[str, bool]:
    response = _MEDIA_TYPE_RESPONSE_ADAPTER.validate_json(reader.read_line())
    return response.media_type, response.is_last


def _parse_mbox_response(reader: ResponseReader) -> tuple[MboxMatch, bool]:
    response = _MBOX_RESPONSE_ADAPTER.validate_json(reader.read_line())
    return MboxMatch(response.positions, reader.read_exactly(response.length)), response.is_last


def store_parts_of_response(reader: ResponseReader, store_batch: StoreBatch) -> tuple[OpenedContainer, bool]:
    """Write the parts and return the opened container. Raises ValueError for an invalid response."""
    header = _RESPONSE_HEADER_ADAPTER.validate_json(reader.read_line())
    opened_container = header.opened_container
    if (
        len(opened_container.parts) != len(header.part_lengths)
        or sum(header.part_lengths) > _MAX_TOTAL_PART_BYTES
        or opened_container.part_hashes
        or opened_container.byte_counts
    ):
        raise ValueError("the lengths do not match the parts")
    if any(part.skip_reason_code not in {None, *NOT_INVOICE_REASONS} for part in opened_container.parts):
        raise ValueError("a part is skipped for an unknown reason")
    if opened_container.reason_code not in {None, *REASON_CODES}:
        raise ValueError("the reason code of the container is unknown")
    if any(len(part.media_type) > _MAX_MEDIA_TYPE_CHARS for part in opened_container.parts):
        raise ValueError("a media type is too long")
    hashes = tuple(store_batch.put_file(_PartStream(reader, length))[0] for length in header.part_lengths)
    return replace(opened_container, part_hashes=hashes, byte_counts=tuple(header.part_lengths)), header.is_last
