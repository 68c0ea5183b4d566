"""What an IMAP server answers, as values: everything in it is checked here, and nothing of it is believed before."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoices.errors import ConfigurationError, ContractError
from sources.mailbox.account import Account

_ARRIVALS = 100_000  # how many messages may come between opening a folder and listing it
_ESEARCH_ALL = re.compile(rb"\bALL ([0-9:,]+)", re.IGNORECASE)
_KEYWORD = re.compile(r"\\(Seen|Flagged|Answered|Deleted|Draft)|[A-Za-z0-9$_.-]{1,100}")
_SPECIAL = {"\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash", "\\important"}


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """A folder as the server lists it; ``special_use`` is such as ``\\Trash`` (RFC 6154), or None."""

    name: str
    delimiter: str | None
    flags: frozenset[str]

    @property
    def is_selectable(self) -> bool:
        """Whether it can hold messages, or only other folders."""
        return not {flag.lower() for flag in self.flags} & {"\\noselect", "\\nonexistent"}

    @property
    def special_use(self) -> str | None:
        """What the server says that this folder is for."""
        return next((flag for flag in sorted(self.flags) if flag.lower() in _SPECIAL), None)


@dataclass(frozen=True, slots=True)
class FolderState:
    """An open folder: UIDs are good as long as ``uidvalidity`` is the same; ``uid_next`` is None if not told."""

    name: str
    uidvalidity: int
    uid_next: int | None
    exists: int
    is_read_only: bool
    permanent_flags: frozenset[str]

    def keeps(self, flag: str) -> bool:
        r"""Return whether a flag set here stays; ``\*`` in the folder's flags means any keyword (RFC 3501 §7.1)."""
        kept = {name.lower() for name in self.permanent_flags}
        return flag.lower() in kept or (r"\*" in kept and not flag.startswith("\\"))


@dataclass(frozen=True, slots=True)
class HeaderOf:
    """A message without its body: ``size`` of the whole in bytes, ``received_at`` in UTC, None if not readable."""

    uid: int
    size: int
    received_at: dt.datetime | None
    flags: frozenset[str]
    header: bytes = field(repr=False)


def folders(account: Account, listed: Iterable[Any]) -> list[FolderInfo]:
    """Return the folders of a LIST; raises ContractError."""
    try:
        return [
            FolderInfo(str(name), delimiter.decode("ascii") if delimiter else None, _texts(flags))
            for flags, delimiter, name in listed
        ]
    except (TypeError, ValueError, AttributeError):
        raise _nonsense(account, "LIST") from None


def folder_state(account: Account, name: str, told: Mapping[bytes, Any], *, is_read_only: bool) -> FolderState:
    """Return the state of a folder just opened; raises ContractError where there are no lasting UIDs."""
    uidvalidity, uid_next, exists = (told.get(key) for key in (b"UIDVALIDITY", b"UIDNEXT", b"EXISTS"))
    if uidvalidity is None or exists is None or not all(map(_is_number, (uidvalidity, exists + 1, uid_next or 1))):
        raise ContractError(f"{account}: the server does not give the folder {name!r} lasting UIDs (UIDVALIDITY)")
    flags = _texts(told.get(b"PERMANENTFLAGS", told.get(b"FLAGS", ())))
    return FolderState(name, uidvalidity, uid_next, exists, is_read_only or b"READ-ONLY" in told, flags)


def esearch(account: Account, told: bytes, exists: int) -> list[int]:
    """Return the UIDs of an ESEARCH answer (RFC 4731); raises ContractError for more than the folder can hold."""
    found = _ESEARCH_ALL.search(told)
    uids: list[int] = []
    for part in found.group(1).decode().split(",") if found else []:
        try:
            low, high = sorted(int(end) for end in (part.split(":") if ":" in part else [part, part]))
        except ValueError:
            raise _nonsense(account, "SEARCH") from None
        if len(uids) + high - low + 1 > exists + _ARRIVALS:
            raise ContractError(f"{account}: the server lists more messages than the folder holds ({exists})")
        uids.extend(range(low, high + 1))
    return uids


def headers(
    account: Account, uids: Sequence[int], found: Mapping[int, Mapping[bytes, Any]], *, is_bare: bool = False
) -> Iterator[HeaderOf]:
    """Give what a FETCH tells about these messages, without those of which it has no header, unless none was asked."""
    for uid, size in sizes(account, uids, found).items():
        told = found[uid]
        header = next((content(account, uid, told, key) for key in told if key.startswith(b"BODY[HEADER")), None)
        header = b"" if is_bare else header
        if header is not None:
            yield HeaderOf(uid, size, _in_utc(told.get(b"INTERNALDATE")), _texts(told.get(b"FLAGS", ())), header)


def sizes(account: Account, uids: Sequence[int], found: Mapping[int, Mapping[bytes, Any]]) -> dict[int, int]:
    """Return the announced size of each message that is still there."""
    told = {uid: found[uid][b"RFC822.SIZE"] for uid in uids if b"RFC822.SIZE" in found.get(uid, {})}
    if not all(_is_number(size, least=0) for size in told.values()):
        raise _nonsense(account, "FETCH")
    return told


def content(account: Account, uid: int, told: Mapping[bytes, Any], key: bytes) -> bytes | None:
    """Return the bytes under ``key``, or None where the message is gone; raises ContractError for anything else."""
    found = told.get(key)
    if found is not None and not isinstance(found, bytes):
        raise ContractError(f"{account}: the server sends no content for message {uid}")
    return found


def by_bytes(sizes: Mapping[int, int], at_once: int) -> Iterator[list[int]]:
    """Give the UIDs in groups of about ``at_once`` bytes, and at least one message."""
    group: list[int] = []
    total = 0
    for uid, size in sizes.items():
        if group and total + size > at_once:
            yield group
            group, total = [], 0
        group.append(uid)
        total += size
    if group:
        yield group


def check_keyword(account: Account, keyword: str) -> None:
    """Raise ConfigurationError for a flag that must not be set, or that no server would understand."""
    if _KEYWORD.fullmatch(keyword) is None:
        raise ConfigurationError(f"{account}: {keyword!r} cannot be a flag: letters, digits, $, _, . and - alone")


def _is_number(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and least <= value < 2**63


def _texts(flags: Iterable[Any]) -> frozenset[str]:
    return frozenset(flag.decode("ascii", "replace") if isinstance(flag, bytes) else str(flag) for flag in flags)


def _in_utc(told: object) -> dt.datetime | None:
    if not isinstance(told, dt.datetime) or told.tzinfo is None:
        return None
    try:
        return told.astimezone(dt.UTC)
    except OverflowError:
        return None


def _nonsense(account: Account, command: str) -> ContractError:
    return ContractError(f"{account}: the server's answer to {command} cannot be understood")
