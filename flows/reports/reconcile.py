"""What each source lists, held against the ledger and the store: what is missing, and what was taken twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import InvoicesError
from invoices.ledger.reconciliation import (
    iter_locations_with_completed_action,
    iter_sighted_documents,
    list_incomplete_mails,
    list_locations_collected_twice,
)
from invoices.settings import MailboxSettings, SourceSettings

MAX_PLACES_LISTED = 20  # names that a person is told of each kind

ProgressCallback = Callable[[int], None]


@dataclass(slots=True)
class SourceComparison:
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


def reconcile_sources(app: App, advance_progress: ProgressCallback = lambda _: None) -> dict[str, Any]:
    """Return under ``sources`` for each what ``Compared`` says, and the sums of ``missing`` and ``twice``.

    ``sound`` is whether nothing is missing, twice or unsafe anywhere; ``tick`` is told how many places were compared.
    Nothing is changed, at the sources or here.
    """
    comparisons = [_compare_source_with_ledger(app, source, advance_progress) for source in app.settings.sources]
    return {
        "sound": all(comparison.is_sound for comparison in comparisons),
        "missing": sum(len(comparison.missing) for comparison in comparisons),
        "twice": sum(len(comparison.twice) for comparison in comparisons),
        "sources": [_to_json(comparison) for comparison in comparisons],
    }


def _compare_source_with_ledger(
    app: App, source: SourceSettings, advance_progress: ProgressCallback
) -> SourceComparison:
    comparison = SourceComparison(source.name, "mailbox" if isinstance(source, MailboxSettings) else "folder")
    try:
        for place, outcome in _list_places_with_outcome(app, source):
            comparison.listed += 1
            comparison.known += outcome is not None
            comparison.left += outcome == "skipped"
            if outcome is None:
                comparison.missing.append(place)
            elif outcome in ("waiting", "too_large", "unreadable"):
                comparison.waiting.append(f"{place} ({outcome})")
            advance_progress(1)
    except InvoicesError as error:
        comparison.problem = str(error)
    with app.ledger.open_snapshot() as connection:
        comparison.twice = list_locations_collected_twice(connection, source.name)
        comparison.missing += list_incomplete_mails(connection, source.name)
        unstored_places = {
            place
            for place, sha256, byte_count in iter_sighted_documents(connection, source.name)
            if not _is_document_stored(app, sha256, byte_count)
        }
        comparison.unsafe = [
            place for place in iter_locations_with_completed_action(connection, source.name) if place in unstored_places
        ]
    comparison.missing += [f"{place} (its document is not in the store)" for place in sorted(unstored_places)]
    return comparison


def _is_document_stored(app: App, sha256: str, byte_count: int) -> bool:
    try:
        return app.store.get_path(sha256).stat().st_size == byte_count
    except FileNotFoundError:
        return False


def _list_places_with_outcome(app: App, source: SourceSettings) -> Iterator[tuple[str, str | None]]:
    """Yield each place that the source lists, with what the ledger knows of it, or None."""
    if isinstance(source, MailboxSettings):
        from flows import mailboxes

        return mailboxes.list_mails_with_outcome(app, source)
    from flows import folders

    return folders.list_files_with_outcome(app, source)


def _to_json(comparison: SourceComparison) -> dict[str, Any]:
    field_names = ("source", "kind", "listed", "known", "left", "missing", "twice", "waiting", "unsafe", "problem")
    return {name: getattr(comparison, name) for name in field_names}


def format_reconciliation(reconciliation: dict[str, Any]) -> str:
    """Return the comparison as a person reads it."""
    lines = []
    for comparison in reconciliation["sources"]:
        skipped_note = f" ({comparison['left']} left by rules)" if comparison["left"] else ""
        counts_text = ", ".join(f"{name} = {len(comparison[name])}" for name in ("missing", "twice"))
        lines.append(
            f"{comparison['kind']} {comparison['source']!r}: {comparison['listed']} listed, {comparison['known']} known{skipped_note}, {counts_text}"
        )
        lines += [f"  problem: {sanitise_for_display(comparison['problem'], 500)}"] if comparison["problem"] else []
        for name, label in PLACE_LIST_LABELS.items():
            lines += [
                f"  {label}: {sanitise_for_display(place, 300)}" for place in comparison[name][:MAX_PLACES_LISTED]
            ]
            lines += (
                [f"  … and {len(comparison[name]) - MAX_PLACES_LISTED} more"]
                if len(comparison[name]) > MAX_PLACES_LISTED
                else []
            )
    unreachable_sources = [
        repr(comparison["source"]) for comparison in reconciliation["sources"] if comparison["problem"]
    ]
    unproven_note = (
        f"; not proven for {', '.join(unreachable_sources)}, which could not be asked" if unreachable_sources else ""
    )
    lines.append(f"missing = {reconciliation['missing']}, twice = {reconciliation['twice']}{unproven_note}")
    if reconciliation["missing"]:
        lines.append("Next: take what is missing:  invoices collect")
    return "\n".join(lines)


PLACE_LIST_LABELS = {
    "missing": "missing",
    "twice": "taken twice",
    "waiting": "told, but not taken",
    "unsafe": "marked, moved or deleted though it is not safe",
}
