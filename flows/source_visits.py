"""Track the visit to a source: its error becomes a problem of the report, and the other sources are still visited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.unexpected_errors import describe_error
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import ConfigurationError, InvoicesError
from invoices.ledger.source_visits import record_source_visit
from invoices.run_report import RunReport
from invoices.settings import SourceSettings

MAX_PROBLEM_CHARS = 1_000  # characters


@contextmanager
def track_source_visit(app: App, source: SourceSettings, report: RunReport) -> Iterator[None]:
    """Record the visit to a source in the ledger, and turn an error in the block into a problem of the report.

    So no source prevents the visits to the others, whatever its server or its files contain.

    Raises:
        ConfigurationError: the only source cannot be used; with several sources it is a problem like any other.
    """
    problem_count_before = len(report.problems)
    try:
        yield
    except InvoicesError as error:
        if isinstance(error, ConfigurationError) and len(app.settings.sources) == 1:
            raise
        report.problems.append(f"source {source.name!r}: {error}")
    except Exception as error:  # noqa: BLE001 - the last resort: no value of one source ends the visits to the others
        cause = describe_error(app.settings, f"source {source.name!r}", error)
        report.problems.append(f"source {source.name!r}: {cause}")
    problem = "; ".join(report.problems[problem_count_before:]) or None
    with app.ledger.begin_log_transaction() as tx:
        record_source_visit(tx, source.name, sanitise_for_display(problem, MAX_PROBLEM_CHARS) if problem else None)
