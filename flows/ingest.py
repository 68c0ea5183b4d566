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

from flows.bootstrap import open_app
from flows.runner import ALL_STAGES, EXTRACT_STAGES, run_stages
from flows.stages import collect, export, load, publish, validate
from invoices.app import AlreadyRunning
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import InvoicesError
from invoices.run_report import RunReport
from invoices.settings import Settings

MAX_MESSAGE_CHARS = 1_000  # characters of a remark or a problem; documents and vendors have their say in them


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
    _run_stages_in_flow(ALL_STAGES)


@flow(name="collect-documents")
def collect_documents() -> None:
    """Take what the sources show into the store and the ledger."""
    _run_stages_in_flow((collect,))


@flow(name="extract-invoices")
def extract_invoices() -> None:
    """Read each new document: by itself where it is an e-invoice, else by an extraction API."""
    _run_stages_in_flow(EXTRACT_STAGES)


@flow(name="validate-candidates")
def validate_candidates() -> None:
    """Hold what was extracted to the rules."""
    _run_stages_in_flow((validate,))


@flow(name="load-warehouse")
def load_warehouse() -> None:
    """Bring what changed into the warehouse and publish the copy for analysts."""
    _run_stages_in_flow((load,))


@flow(name="publish-receipts")
def publish_receipts() -> None:
    """Publish accepted invoices as receipts, then load what became of them."""
    _run_stages_in_flow((publish, load))


@flow(name="export-batches")
def export_batches() -> None:
    """Write the accounting files, then load which invoice is in which batch."""
    _run_stages_in_flow((export, load))


@task(cache_policy=NO_CACHE, persist_result=False, retries=0)
def process_batch(process: Callable[[], None]) -> None:
    """Work on one batch."""
    process()


def _run_batch_as_task(name: str, process: Callable[[], None]) -> None:
    process_batch.with_options(task_run_name=name)(process)


def _run_stages_in_flow(stages: Sequence[ModuleType]) -> None:
    """Drive the stages with batches as tasks; a run that is already active is no failure, problems are."""
    logger = get_run_logger()
    report = RunReport()
    with open_app(Settings.load()) as app:
        if app.is_rehearsal:
            logger.warning("REHEARSAL: no vendor key is set, so the sandbox stands in for every remote API")
        try:
            run_stages(app, stages, report, _run_batch_as_task)
        except AlreadyRunning as already_running:
            logger.info("%s", already_running)
            return
    logger.info(
        "%d new documents, %d paid calls, verdicts %s, receipts %s, exported %d",
        report.new_documents, report.paid_calls, dict(report.verdicts), dict(report.receipt_statuses), report.exported_invoices,
    )  # fmt: skip
    for message in (*report.remarks, *report.problems):  # on the worker's terminal, not into Prefect's database
        print(sanitise_for_display(message, MAX_MESSAGE_CHARS), file=sys.stderr)  # noqa: T201
    if report.problems:
        raise InvoicesError("there were problems, told in the worker's log; see also: invoices status")
