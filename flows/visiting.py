"""A visit to a source: what goes wrong there is told, and is no reason to leave the other sources alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from invoices.documents.outcomes import shown
from invoices.errors import ConfigurationError, InvoicesError
from invoices.house import House
from invoices.ledger.visits import record_visit
from invoices.report import Report
from invoices.settings import Source

LONGEST_PROBLEM = 1_000  # characters


@contextmanager
def visiting(house: House, source: Source, report: Report) -> Iterator[None]:
    """Write down that a source was visited, and turn what went wrong into a problem of the report.

    Raises:
        ConfigurationError: the only source there is cannot be used; with several it is a problem like any other.
    """
    told = len(report.problems)
    try:
        yield
    except InvoicesError as error:
        if isinstance(error, ConfigurationError) and len(house.settings.sources) == 1:
            raise
        report.problems.append(f"source {source.name!r}: {error}")
    problem = "; ".join(report.problems[told:]) or None
    with house.ledger.logging() as tx:
        record_visit(tx, source.name, shown(problem, LONGEST_PROBLEM) if problem else None)
