"""Compare what each source lists with the ledger and the store: what is missing, and what was collected twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.plurals import format_count
from flows.unexpected_errors import describe_error
from flows.unrecorded_documents import UNRECORDED_HINT, list_unrecorded_hashes
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import PROGRAM_ERRORS, InvoicesError
from invoices.ledger.reconciliation import (
    iter_locations_with_completed_action,
    iter_sighted_documents,
    list_incomplete_mails,
    list_locations_collected_twice,
)
from invoices.settings import MailboxSettings, SourceSettings

MAX_PLACES_LISTED = 20  # of each kind and source
MAX_PROBLEM_CHARS, MAX_PLACE_CHARS = 500, 300  # characters
PLACE_LABELS = {
    "missing": "missing",
    "duplicated": "collected twice",
    "waiting": "known, but not collected",
    "elsewhere": "collected from another directory; compare it with --inbox",
    "unsafe": "marked, moved or deleted although its documents are not stored",
}

ProgressCallback = Callable[[int], None]


@dataclass(slots=True)
class SourceComparison:
    """The comparison of one source; the lists name places, the counts count them."""

    source: str
    kind: str
    listed: int = 0
    known: int = 0
    skipped: int = 0  # of the known ones, by a rule
    missing: list[str] = field(default_factory=list)  # listed, and not in the ledger, or not in the store
    duplicated: list[str] = field(default_factory=list)  # collected twice
    waiting: list[str] = field(default_factory=list)  # in the ledger, but not collected
    unsafe: list[str] = field(default_factory=list)  # marked, moved or deleted although not everything is in the store
    elsewhere: list[str] = field(default_factory=list)  # directories outside the folder that its documents came from
    problem: str | None = None  # why the source could not be listed

    @property
    def is_sound(self) -> bool:
        """Whether the source could be listed and everything in it was collected once."""
        return not (self.missing or self.duplicated or self.unsafe or self.problem)


def reconcile_sources(app: App, advance_progress: ProgressCallback = lambda _: None) -> dict[str, Any]:
    """Return under ``sources`` the fields of each ``SourceComparison``, and the sums of ``missing`` and ``duplicated``.

    ``sound`` is whether every comparison is sound. ``advance_progress`` gets the number of places just compared.
    Nothing is changed, neither at the sources nor in the home directory.
    """
    comparisons = [_compare_source_with_ledger(app, source, advance_progress) for source in app.settings.sources]
    unrecorded_hashes = list_unrecorded_hashes(app.ledger, app.store)
    return {
        "sound": not unrecorded_hashes and all(comparison.is_sound for comparison in comparisons),
        "unrecorded": unrecorded_hashes,
        "missing": sum(len(comparison.missing) for comparison in comparisons),
        "duplicated": sum(len(comparison.duplicated) for comparison in comparisons),
        "sources": [asdict(comparison) for comparison in comparisons],
    }


def _compare_source_with_ledger(
    app: App, source: SourceSettings, advance_progress: ProgressCallback
) -> SourceComparison:
    comparison = SourceComparison(source.name, "mailbox" if isinstance(source, MailboxSettings) else "folder")
    try:
        for place, outcome in _list_places_with_outcome(app, source):
            comparison.listed += 1
            comparison.known += outcome is not None
            comparison.skipped += outcome == "skipped"
            if outcome is None:
                comparison.missing.append(place)
            elif outcome in ("waiting", "too_large", "unreadable"):
                comparison.waiting.append(f"{place} ({outcome})")
            advance_progress(1)
    except InvoicesError as error:
        comparison.problem = str(error)
    except PROGRAM_ERRORS as error:
        comparison.problem = describe_error(app.settings, f"source {source.name!r}", error)
    comparison.elsewhere = _list_other_directories(app, source)
    if comparison.elsewhere and not comparison.listed and not comparison.problem:
        comparison.problem = (
            f"this folder is empty, and the documents of the source came from {comparison.elsewhere[0]!r}: "
            "compare that directory with --inbox, or the samples with --samples"
        )
    with app.ledger.open_snapshot() as connection:
        comparison.duplicated = list_locations_collected_twice(connection, source.name)
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


def _list_other_directories(app: App, source: SourceSettings) -> list[str]:
    """Return the directories outside a local folder in which documents of this source were found, by ``--inbox``."""
    if isinstance(source, MailboxSettings) or source.is_remote:
        return []
    from sources.folder.listing import decode_path
    from sources.folder.local_folder import resolve_folder_root

    root = f"{decode_path(resolve_folder_root(source)).rstrip('/')}/"
    with app.ledger.open_snapshot() as connection:
        locations = [location for location, _, _ in iter_sighted_documents(connection, source.name)]
    paths = {location.partition("/;")[0] for location in locations if not location.startswith(root)}
    return sorted({path.rpartition("/")[0] for path in paths})


def _is_document_stored(app: App, sha256: str, byte_count: int) -> bool:
    """Return whether the store has the document with its whole length."""
    try:
        return app.store.get_path(sha256).stat().st_size == byte_count
    except FileNotFoundError:
        return False


def _list_places_with_outcome(app: App, source: SourceSettings) -> Iterator[tuple[str, str | None]]:
    """Yield each place that the source lists, with its outcome in the ledger, or None if the ledger lacks it."""
    if isinstance(source, MailboxSettings):
        from flows.mailboxes import list_mails_with_outcome

        return list_mails_with_outcome(app, source)
    from flows.folders import list_files_with_outcome

    return list_files_with_outcome(app, source)


def format_reconciliation(reconciliation: dict[str, Any]) -> str:
    """Return the comparison as text for a person."""
    lines = []
    for comparison in reconciliation["sources"]:
        skipped_note = f" ({comparison['skipped']:,} skipped by rules)" if comparison["skipped"] else ""
        lines.append(
            f"{comparison['kind']} {comparison['source']!r}: {comparison['listed']:,} listed, "
            f"{comparison['known']:,} known{skipped_note}, "
            f"missing = {len(comparison['missing'])}, duplicated = {len(comparison['duplicated'])}"
        )
        if comparison["problem"]:
            lines.append(f"  problem: {sanitise_for_display(comparison['problem'], MAX_PROBLEM_CHARS)}")
        for name, label in PLACE_LABELS.items():
            places = comparison[name]
            lines += [
                f"  {label}: {sanitise_for_display(place, MAX_PLACE_CHARS)}" for place in places[:MAX_PLACES_LISTED]
            ]
            if len(places) > MAX_PLACES_LISTED:
                lines.append(f"  {label}: {len(places) - MAX_PLACES_LISTED:,} more")
    total_line = f"missing = {reconciliation['missing']}, duplicated = {reconciliation['duplicated']}"
    unlisted_sources = [repr(comparison["source"]) for comparison in reconciliation["sources"] if comparison["problem"]]
    if unlisted_sources:
        total_line += f"; incomplete, because {', '.join(unlisted_sources)} could not be listed"
    lines.append(total_line)
    if reconciliation["unrecorded"]:
        lines.append(UNRECORDED_HINT.format(count=format_count(len(reconciliation["unrecorded"]), "document")))
        lines += [f"  unrecorded: {sha256}" for sha256 in reconciliation["unrecorded"][:MAX_PLACES_LISTED]]
    if reconciliation["missing"]:
        lines.append("Next: collect what is missing: invoices collect")
    return "\n".join(lines)
