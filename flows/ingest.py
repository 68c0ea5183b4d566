"""The Prefect flows: one per stage and one for the whole. Batches are tasks; the logic is below them.

Prefect schedules and shows. What is done, and what is not, stands in the ledger alone: a flow may be killed
anywhere and run again. Flows take no parameters, so nothing secret or personal reaches Prefect's database.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.driving import EXTRACT, WHOLE, drive
from flows.opening import open_house
from flows.stages import collect, export, judge, load, publish
from invoices.documents.outcomes import shown
from invoices.errors import InvoicesError
from invoices.house import AlreadyRunning
from invoices.report import Report
from invoices.settings import Settings

LONGEST_TOLD = 1_000  # characters of a remark or a problem; documents and vendors have their say in them


@flow(name="ingest-invoices")
def ingest_invoices() -> None:
    """Bring everything new to the books.

    1. Collect what the sources show.
    2. Extract: read e-invoices, ask an extraction API about the rest.
    3. Judge the candidates.
    4. Load them and publish the warehouse.
    5. Publish receipts.
    6. Export accounting files.
    7. Load what became of them.
    """
    _work_through(WHOLE)


@flow(name="collect-documents")
def collect_documents() -> None:
    """Take what the sources show into the store and the ledger."""
    _work_through((collect,))


@flow(name="extract-invoices")
def extract_invoices() -> None:
    """Read each new document: by itself where it is an e-invoice, else by an extraction API."""
    _work_through(EXTRACT)


@flow(name="judge-candidates")
def judge_candidates() -> None:
    """Hold what was extracted to the rules."""
    _work_through((judge,))


@flow(name="load-warehouse")
def load_warehouse() -> None:
    """Bring what changed into the warehouse and publish the copy for analysts."""
    _work_through((load,))


@flow(name="publish-receipts")
def publish_receipts() -> None:
    """Publish accepted invoices as receipts, then load what became of them."""
    _work_through((publish, load))


@flow(name="export-batches")
def export_batches() -> None:
    """Write the accounting files, then load which invoice is in which batch."""
    _work_through((export, load))


@task(cache_policy=NO_CACHE, persist_result=False, retries=0)
def work_on_batch(work: Callable[[], None]) -> None:
    """Work on one batch."""
    work()


def _as_task(name: str, work: Callable[[], None]) -> None:
    work_on_batch.with_options(task_run_name=name)(work)


def _work_through(stages: Sequence[ModuleType]) -> None:
    """Drive the stages with batches as tasks; a run that is already active is no failure, problems are."""
    logger = get_run_logger()
    report = Report()
    with open_house(Settings.load()) as house:
        if house.rehearses:
            logger.warning("REHEARSAL: no vendor key is set, so the sandbox stands in for every remote API")
        try:
            drive(house, stages, report, _as_task)
        except AlreadyRunning as busy:
            logger.info("%s", busy)
            return
    logger.info(
        "%d new documents, %d paid calls, verdicts %s, receipts %s, exported %d",
        report.new_documents, report.paid_calls, dict(report.judged), dict(report.receipts), report.exported_invoices,
    )  # fmt: skip
    for told in (*report.remarks, *report.problems):  # on the worker's terminal, not into Prefect's database
        print(shown(told, LONGEST_TOLD), file=sys.stderr)  # noqa: T201
    if report.problems:
        raise InvoicesError("there were problems, told in the worker's log; see also: invoices status")
