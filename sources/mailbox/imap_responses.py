"""Parses and checks the responses of an IMAP server; no other module uses unchecked values."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from invoices.errors import ConfigurationError, ContractError
from sources.mailbox.account import Account

_MAX_NEW_MESSAGES = 100_000  # that may arrive between opening a folder and listing it
_ESEARCH_ALL_PATTERN = re.compile(rb"\bALL ([0-9:,]+)", re.IGNORECASE)
_FLAG_PATTERN = re.compile(r"\\(Seen|Flagged|Answered|Deleted|Draft)|[A-Za-z0-9$_.-]{1,100}")
_SPECIAL_USE_FLAGS = {"\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash", "\\important"}


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """A folder as the server lists it."""

    name: str
    delimiter: str | None
    flags: frozenset[str]

    @property
    def is_selectable(self) -> bool:
        """Whether it can contain messages, and not only other folders."""
        return not {flag.lower() for flag in self.flags} & {"\\noselect", "\\nonexistent"}

    @property
    def special_use(self) -> str | None:
        r"""The special use of the folder, for example ``\Trash`` (RFC 6154), or None."""
        return next((flag for flag in sorted(self.flags) if flag.lower() in _SPECIAL_USE_FLAGS), None)


@dataclass(frozen=True, slots=True)
class FolderState:
    """An open folder: UIDs are valid as long as ``uidvalidity`` is the same; ``uid_next`` is None if not reported."""

    name: str
    uidvalidity: int
    uid_next: int | None
    message_count: int
    is_read_only: bool
    permanent_flags: frozenset[str]

    def can_store_flag(self, flag: str) -> bool:
        r"""Return whether the folder stores a flag; ``\*`` in its permanent flags means any keyword (RFC 3501 §7.1)."""
        permanent_names = {name.lower() for name in self.permanent_flags}
        return flag.lower() in permanent_names or (r"\*" in permanent_names and not flag.startswith("\\"))


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A message without its body: ``size`` of the whole in bytes, ``received_at`` in UTC or None if it is invalid."""

    uid: int
    size: int
    received_at: dt.datetime | None
    flags: frozenset[str]
    header_bytes: bytes = field(repr=False)


def parse_folder_list(account: Account, list_response: Iterable[Any]) -> list[ListedFolder]:
    """Return the folders in the response to LIST; raises ContractError."""
    try:
        return [
            ListedFolder(str(name), delimiter.decode("ascii") if delimiter else None, _decode_flags(flags))
            for flags, delimiter, name in list_response
        ]
    except (TypeError, ValueError, AttributeError):
        raise _build_invalid_response_error(account, "LIST") from None


def parse_folder_state(
    account: Account, name: str, response: Mapping[bytes, Any], *, is_read_only: bool
) -> FolderState:
    """Return the state of a folder just opened; raises ContractError if it has no lasting UIDs."""
    uidvalidity, uid_next, message_count = (response.get(key) for key in (b"UIDVALIDITY", b"UIDNEXT", b"EXISTS"))
    if (
        not _is_imap_number(uidvalidity)
        or not _is_imap_number(message_count, minimum=0)
        or not (uid_next in (None, 0) or _is_imap_number(uid_next))
    ):
        raise ContractError(f"{account}: the server reports no lasting UIDs (UIDVALIDITY) for the folder {name!r}")
    flags = _decode_flags(response.get(b"PERMANENTFLAGS", response.get(b"FLAGS", ())))
    return FolderState(name, uidvalidity, uid_next, message_count, is_read_only or b"READ-ONLY" in response, flags)


def parse_esearch_uids(account: Account, response: bytes, message_count: int) -> list[int]:
    """Return the UIDs in an ESEARCH response (RFC 4731); raises ContractError for more than the folder can contain."""
    match = _ESEARCH_ALL_PATTERN.search(response)
    uids: list[int] = []
    for uid_range in match.group(1).decode().split(",") if match else []:
        try:
            low, high = sorted(
                int(bound) for bound in (uid_range.split(":") if ":" in uid_range else [uid_range, uid_range])
            )
        except ValueError:
            raise _build_invalid_response_error(account, "SEARCH") from None
        if len(uids) + high - low + 1 > message_count + _MAX_NEW_MESSAGES:
            raise ContractError(f"{account}: the server lists more messages than the folder contains ({message_count})")
        uids.extend(range(low, high + 1))
    return uids


def parse_message_summaries(
    uids: Sequence[int], fetch_response: Mapping[int, Mapping[bytes, Any]], *, is_without_header: bool = False
) -> Iterator[MessageSummary]:
    """Yield the summaries in a FETCH response.

    A message without a valid size, or without a header unless none was requested, is left out.
    """
    for uid, size in parse_message_sizes(uids, fetch_response).items():
        message_data = fetch_response[uid]
        header_key = next((key for key in message_data if key.startswith(b"BODY[HEADER")), b"")
        header_bytes = b"" if is_without_header else find_message_content(message_data, header_key)
        if header_bytes is not None:
            yield MessageSummary(
                uid,
                size,
                _convert_to_utc(message_data.get(b"INTERNALDATE")),
                _decode_flags(message_data.get(b"FLAGS", ())),
                header_bytes,
            )


def parse_message_sizes(uids: Sequence[int], fetch_response: Mapping[int, Mapping[bytes, Any]]) -> dict[int, int]:
    """Return the announced size of each message that has a valid one."""
    sizes_by_uid = {uid: fetch_response[uid].get(b"RFC822.SIZE") for uid in uids if uid in fetch_response}
    return {uid: size for uid, size in sizes_by_uid.items() if _is_imap_number(size, minimum=0)}


def find_message_content(message_data: Mapping[bytes, Any], key: bytes) -> bytes | None:
    """Return the bytes under ``key``, or None if the server sent none."""
    content = message_data.get(key)
    return content if isinstance(content, bytes) else None


def group_uids_by_size(sizes_by_uid: Mapping[int, int], max_bytes: int) -> Iterator[list[int]]:
    """Yield the UIDs in groups of at most ``max_bytes``, or of one message that is larger."""
    group: list[int] = []
    total_bytes = 0
    for uid, size in sizes_by_uid.items():
        if group and total_bytes + size > max_bytes:
            yield group
            group, total_bytes = [], 0
        group.append(uid)
        total_bytes += size
    if group:
        yield group


def validate_flag_name(account: Account, flag: str) -> None:
    """Raise ConfigurationError for a flag that must not be set, or that is invalid."""
    if _FLAG_PATTERN.fullmatch(flag) is None:
        raise ConfigurationError(f"{account}: {flag!r} is not a valid flag: use only letters, digits, $, _, . and -")


def _is_imap_number(value: object, minimum: int = 1) -> TypeGuard[int]:
    return isinstance(value, int) and minimum <= value < 2**63


def _decode_flags(flags: object) -> frozenset[str]:
    """Return the flags in a parenthesised list; anything else contains none."""
    if not isinstance(flags, tuple | list):
        return frozenset()
    return frozenset(flag.decode("ascii", "replace") if isinstance(flag, bytes) else str(flag) for flag in flags)


def _convert_to_utc(timestamp: object) -> dt.datetime | None:
    if not isinstance(timestamp, dt.datetime) or timestamp.tzinfo is None:
        return None
    try:
        return timestamp.astimezone(dt.UTC)
    except (OverflowError, ValueError):  # out of the range of years, or an offset of a day or more
        return None


def _build_invalid_response_error(account: Account, command: str) -> ContractError:
    return ContractError(f"{account}: the server's response to {command} is invalid")
