"""What each source lists, held against the ledger and the store: what is missing, and what was taken twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from invoices.documents.outcomes import shown
from invoices.errors import InvoicesError
from invoices.house import House
from invoices.ledger.reconciling import acted_upon, incomplete, repeated, shown_documents
from invoices.settings import Mailbox, Source

LONGEST_LIST = 20  # names that a person is told of each kind

Tick = Callable[[int], None]


@dataclass(slots=True)
class Compared:
    """What the comparison of one source came to; the lists name places."""

    source: str
    kind: str
    listed: int = 0
    known: int = 0
    left: int = 0  # of the known ones, by a rule
    missing: list[str] = field(default_factory=list)  # listed, and not in the ledger, or not in the store
    twice: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # told, but not taken
    unsafe: list[str] = field(default_factory=list)  # marked, moved or deleted though not everything is in the store
    problem: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether everything that is listed was taken once."""
        return not (self.missing or self.twice or self.unsafe or self.problem)


def reconcile(house: House, tick: Tick = lambda _: None) -> dict[str, Any]:
    """Return under ``sources`` for each what ``Compared`` says, and the sums of ``missing`` and ``twice``.

    ``sound`` is whether nothing is missing, twice or unsafe anywhere; ``tick`` is told how many places were compared.
    Nothing is changed, at the sources or here.
    """
    compared = [_compared(house, source, tick) for source in house.settings.sources]
    return {
        "sound": all(one.is_sound for one in compared),
        "missing": sum(len(one.missing) for one in compared),
        "twice": sum(len(one.twice) for one in compared),
        "sources": [_record(one) for one in compared],
    }


def _compared(house: House, source: Source, tick: Tick) -> Compared:
    found = Compared(source.name, "mailbox" if isinstance(source, Mailbox) else "folder")
    try:
        for place, is_known in _listing(house, source):
            found.listed += 1
            found.known += is_known is not None
            found.left += is_known == "left"
            if is_known is None:
                found.missing.append(place)
            elif is_known in ("waiting", "too_large", "unreadable"):
                found.waiting.append(f"{place} ({is_known})")
            tick(1)
    except InvoicesError as error:
        found.problem = str(error)
    with house.ledger.reading() as connection:
        found.twice = repeated(connection, source.name)
        found.missing += incomplete(connection, source.name)
        lost = {
            place
            for place, sha256, size in shown_documents(connection, source.name)
            if not _is_stored(house, sha256, size)
        }
        found.unsafe = [place for place in acted_upon(connection, source.name) if place in lost]
    found.missing += [f"{place} (its document is not in the store)" for place in sorted(lost)]
    return found


def _is_stored(house: House, sha256: str, size: int) -> bool:
    try:
        return house.store.path(sha256).stat().st_size == size
    except FileNotFoundError:
        return False


def _listing(house: House, source: Source) -> Iterator[tuple[str, str | None]]:
    """Yield each place that the source lists, with what the ledger knows of it, or None."""
    if isinstance(source, Mailbox):
        from flows import mailboxes

        return mailboxes.listing(house, source)
    from flows import folders

    return folders.listing(house, source)


def _record(one: Compared) -> dict[str, Any]:
    names = ("source", "kind", "listed", "known", "left", "missing", "twice", "waiting", "unsafe", "problem")
    return {name: getattr(one, name) for name in names}


def as_text(compared: dict[str, Any]) -> str:
    """Return the comparison as a person reads it."""
    lines = []
    for one in compared["sources"]:
        left = f" ({one['left']} left by rules)" if one["left"] else ""
        counts = ", ".join(f"{name} = {len(one[name])}" for name in ("missing", "twice"))
        lines.append(f"{one['kind']} {one['source']!r}: {one['listed']} listed, {one['known']} known{left}, {counts}")
        lines += [f"  problem: {shown(one['problem'], 500)}"] if one["problem"] else []
        for name, words in WORDS.items():
            lines += [f"  {words}: {shown(place, 300)}" for place in one[name][:LONGEST_LIST]]
            lines += [f"  … and {len(one[name]) - LONGEST_LIST} more"] if len(one[name]) > LONGEST_LIST else []
    unasked = [repr(one["source"]) for one in compared["sources"] if one["problem"]]
    proven = f"; not proven for {', '.join(unasked)}, which could not be asked" if unasked else ""
    lines.append(f"missing = {compared['missing']}, twice = {compared['twice']}{proven}")
    if compared["missing"]:
        lines.append("Next: take what is missing:  invoices collect")
    return "\n".join(lines)


WORDS = {
    "missing": "missing",
    "twice": "taken twice",
    "waiting": "told, but not taken",
    "unsafe": "marked, moved or deleted though it is not safe",
}
