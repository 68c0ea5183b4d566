"""The application: the one place that builds the ledger, the store, readers and clients from the settings."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from types import TracebackType

from sqlalchemy.exc import OperationalError

from invoices.clients.smartbills_io import SmartBillsIoClient
from invoices.documents.containers.container_opener_pool import CONTAINER_LIMITS, ContainerOpenerPool
from invoices.documents.document_reader_pool import DocumentReaderPool, ProcessLimits
from invoices.documents.malware_scanner import MalwareScanner
from invoices.documents.official_rules.rule_checker_pool import RuleCheckerPool
from invoices.documents.official_rules.rule_sets import RuleSet
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError
from invoices.extraction.client_factory import iter_extractor_settings_problems
from invoices.extraction.extractor_chain import ExtractorChain
from invoices.extraction.resilience.rate_limit import RateLimiter, RateWindow
from invoices.extraction.resilience.rate_limit_store import RateLimitStore
from invoices.ledger import Ledger, Transaction
from invoices.ledger.claims import (
    LEASE_DURATION,
    claim_all_or_none,
    claim_pending_documents,
    extend_leases,
    list_claim_holders,
    release_claims,
)
from invoices.ledger.documents import PendingDocument, Stage, list_pending_documents
from invoices.ledger.high_water_mark import HighWaterMark, HighWaterMarkFile
from invoices.ledger.identity import Recovery, RecoveryArea, begin_recovery, find_recovery
from invoices.ledger.identity_check import check_ledger_identity
from invoices.ledger.stage_lease_keeper import StageLeaseKeeper
from invoices.ledger.stage_leases import StageLease, expire_stage_leases, list_stage_lease_holders
from invoices.ledger.workers import Worker
from invoices.private_files import make_private_directory
from invoices.receipts.client_factory import build_smartbills_io_client
from invoices.run_lock import RunLock, hold_run_lock
from invoices.settings import Settings

SECONDS_PER_MINUTE = 60.0
LEASE_RENEWAL_SECONDS = LEASE_DURATION.total_seconds() / 5
REHEARSAL_MODE, PRODUCTION_MODE = "rehearsal", "real"


class App:
    """Everything that a stage needs, created on first use and closed together.

    ``prepare_vendor_settings`` returns the settings for calls to vendors; in a rehearsal it also starts the sandbox.
    """

    def __init__(self, settings: Settings, prepare_vendor_settings: Callable[[ExitStack], Settings]) -> None:
        """Open the ledger and the store.

        Raises:
            ConfigurationError: the settings of a vendor, the home directory or the ledger cannot be used.
        """
        check_vendor_settings(settings)  # before anything is created, or marked as a home for real runs
        self.settings = settings
        self.run_lock: RunLock | None = None  # while this process holds it
        self._prepare_vendor_settings = prepare_vendor_settings
        self._exit_stack = ExitStack()
        self.selected_documents: Sequence[str] | None = None  # hashes: the stages of extraction work on these only
        try:
            make_private_directory(settings.home)
            self.store = DocumentStore(settings.documents_directory)
        except OSError as error:
            raise ConfigurationError(
                f"the home directory {str(settings.home)!r} cannot be written: {error.strerror}"
            ) from error
        self.ledger = Ledger(settings.effective_ledger_url, on_commit=self._raise_high_water_mark)
        self._exit_stack.callback(self.ledger.close)
        self._mark_file = HighWaterMarkFile(settings.home / "high_water_mark.json")
        try:
            self.ledger_id = check_ledger_identity(self.ledger, self._mark_file)
        except OSError as error:
            self.close()
            raise ConfigurationError(f"{error.filename!r} cannot be written: {error.strerror}") from error

    def _raise_high_water_mark(self, revision: int) -> None:
        self._mark_file.raise_to(HighWaterMark(self.ledger_id, revision))

    def find_recovery(self, area: RecoveryArea) -> Recovery | None:
        """Return why, and since when, everything in this area has to be looked up before it is sent; None if it is not.

        The ledger is new to this home, or was restored: it may lack records of what was sent.
        """
        with self.ledger.open_snapshot() as connection:
            return find_recovery(connection, area)

    def begin_recovery(self) -> None:
        """Record that the ledger was restored: what is outside and not in it has been found."""
        with self.ledger.begin_transaction() as tx:
            begin_recovery(tx, "restored")

    @property
    def is_rehearsal(self) -> bool:
        """Whether this home is for rehearsals: by its recorded mode, or by the settings if none is recorded."""
        recorded_mode = self.ledger.find_note("mode")
        return self.settings.is_rehearsal if recorded_mode is None else recorded_mode == REHEARSAL_MODE

    def record_rehearsal_mode(self) -> None:
        """Record once whether the home is for rehearsals, so that answers of a rehearsal never get into real runs.

        Raises:
            ConfigurationError: the recorded mode is not the mode of the settings.
        """
        recorded_mode = self.ledger.get_or_record_note("mode", get_rehearsal_mode(self.settings))
        if recorded_mode != get_rehearsal_mode(self.settings):
            raise ConfigurationError(format_mode_mismatch(self.settings, recorded_mode))

    def check_rehearsal_mode(self) -> None:
        """Raise ConfigurationError if the recorded mode is not the mode of the settings; record nothing."""
        recorded_mode = self.ledger.find_note("mode")
        if recorded_mode is not None and recorded_mode != get_rehearsal_mode(self.settings):
            raise ConfigurationError(format_mode_mismatch(self.settings, recorded_mode))

    @cached_property
    def vendor_settings(self) -> Settings:
        """The settings for calls to vendors."""
        return self._prepare_vendor_settings(self._exit_stack)

    @cached_property
    def document_reader_pool(self) -> DocumentReaderPool:
        """The processes that read documents."""
        reading_settings = self.settings.reading
        limits = ProcessLimits(max_bytes=reading_settings.megabytes * 1024 * 1024, seconds=reading_settings.seconds)
        reader_pool = DocumentReaderPool(worker_count=reading_settings.workers, limits=limits)
        self._exit_stack.callback(reader_pool.close)
        return reader_pool

    @cached_property
    def rule_checker_pool(self) -> RuleCheckerPool | None:
        """The processes that check e-invoices against the official rules; None if the settings turn them off."""
        if not self.settings.rules.official:
            return None
        pool = RuleCheckerPool(self.settings.reading.workers, rule_sets=build_user_rule_sets(self.settings))
        self._exit_stack.callback(pool.close)
        return pool

    @cached_property
    def malware_scanner(self) -> MalwareScanner | None:
        """The malware scanner of the settings, or None; once it is down, it stays so for the whole run."""
        command = self.settings.reading.scanner_command
        return MalwareScanner(command) if command else None

    @cached_property
    def container_opener_pool(self) -> ContainerOpenerPool:
        """The processes that open mails and archives."""
        reading_settings = self.settings.reading
        max_megabytes = max([reading_settings.megabytes, *(mailbox.megabytes for mailbox in self.settings.mailboxes)])
        limits = replace(CONTAINER_LIMITS, max_bytes=max_megabytes * 1024 * 1024)
        opener_pool = ContainerOpenerPool(reading_settings.workers, limits, self.settings.intake.unpack_archives)
        self._exit_stack.callback(opener_pool.close)
        return opener_pool

    @cached_property
    def worker(self) -> Worker:
        """This process as a worker; other workers on the ledger see its name and its lock file."""
        worker = Worker(self.settings.home / "workers")
        self._exit_stack.callback(self._close_worker, worker)
        if ended_names := worker.list_ended_workers():  # before the holders: an ended worker claims nothing any more
            worker.delete_lock_files(set(ended_names) - self._list_lease_holders())
        return worker

    @property
    def worker_name(self) -> str | None:
        """The name of this process as a worker; None before it has claimed anything."""
        return self.worker.name if "worker" in vars(self) else None

    def _close_worker(self, worker: Worker) -> None:
        """Release the claims and the lock file; if the ledger cannot be written, the file stays for other workers.

        They see that nobody has locked it, and release the claims.
        """
        try:
            self.release_claims()
        except OperationalError:
            worker.close(has_claims=True)
        else:
            worker.close()

    def claim_documents(self, stage: Stage, limit: int, after_sequence: int) -> list[PendingDocument]:
        """Claim up to ``limit`` documents that wait for ``stage`` and that no living worker has claimed."""
        self.release_claims_of_dead_workers()
        with self.ledger.open_snapshot() as connection:
            if not list_pending_documents(connection, stage, 1, after_sequence):
                return []
        with self.ledger.begin_transaction() as tx:
            return claim_pending_documents(tx, self.worker.name, stage, limit, after_sequence=after_sequence)

    def claim_all_or_none(self, document_hashes: Sequence[str]) -> bool:
        """Claim all of these documents, or none if a living worker has one; return whether they are claimed."""
        self.release_claims_of_dead_workers()
        with self.ledger.begin_transaction() as tx:
            return claim_all_or_none(tx, self.worker.name, document_hashes)

    @contextmanager
    def renew_leases(self, interval_seconds: float = LEASE_RENEWAL_SECONDS) -> Iterator[None]:
        """Renew the leases every ``interval_seconds`` during the block; release the claims at its end."""
        stopped = threading.Event()

        def renew_until_stopped() -> None:
            while not stopped.wait(interval_seconds):
                # a lease that is not renewed expires, which ``holds_claim`` detects
                with suppress(OperationalError), self.ledger.begin_transaction() as tx:
                    extend_leases(tx, self.worker.name)

        renewal_thread = threading.Thread(target=renew_until_stopped, name="leases", daemon=True)
        renewal_thread.start()
        try:
            yield
        finally:
            stopped.set()
            renewal_thread.join()
            with suppress(OperationalError):  # an error of the block is not hidden; ``close`` tries again
                self.release_claims()

    def release_claims(self) -> None:
        """Release all claims of this process."""
        if "worker" not in vars(self):  # this process has claimed nothing
            return
        with self.ledger.open_snapshot() as connection:
            if self.worker.name not in list_claim_holders(connection):
                return
        with self.ledger.begin_transaction() as tx:
            release_claims(tx, self.worker.name)

    def _list_lease_holders(self) -> set[str]:
        """Return the workers that have claimed documents or hold the lease of a stage."""
        with self.ledger.open_snapshot() as connection:
            return {*list_claim_holders(connection), *list_stage_lease_holders(connection, self.ledger.now())}

    def release_claims_of_dead_workers(self) -> None:
        """Release the claims and the stage leases of workers that have died, and delete their lock files."""
        holder_names = self._list_lease_holders()
        dead_names = self.worker.filter_dead_workers(sorted(holder_names)) if holder_names else []
        if dead_names:
            with self.ledger.begin_transaction() as tx:
                for name in dead_names:
                    release_claims(tx, name)
                    expire_stage_leases(tx, name)
            self.worker.delete_lock_files(dead_names)

    @cached_property
    def stage_lease_keeper(self) -> StageLeaseKeeper:
        """The leases of the stages that this process works on."""
        return StageLeaseKeeper(self.ledger, self.worker.name, dt.timedelta(seconds=self.settings.stage_lease_seconds))

    @contextmanager
    def hold_stage_lease(self, stage: str) -> Iterator[StageLease | None]:
        """Hold the lease of a stage during the block; yield None if a living worker on this ledger has it."""
        self.release_claims_of_dead_workers()
        with self.stage_lease_keeper.hold_stage_lease(stage) as lease:
            yield lease

    def begin_leased_transaction(self, stage: str) -> AbstractContextManager[Transaction]:
        """Write everything in the block or nothing; raises StageLeaseLost if another worker has taken over the stage.

        Whatever a stage with a lease records, it records in such a transaction.
        """
        return self.stage_lease_keeper.begin_transaction(stage)

    def require_valid_lease(self, stage: str) -> None:
        """Check the lease just before a request to others; raises StageLeaseLost if another worker has taken over."""
        self.stage_lease_keeper.require_valid_lease(stage)

    @cached_property
    def extractor_chain(self) -> ExtractorChain:
        """The configured extraction APIs, in order of preference."""
        return ExtractorChain(
            self.vendor_settings, self.ledger, self.store, self.rate_limit_store, self.worker.name,
            self.claim_all_or_none,
        )  # fmt: skip

    @cached_property
    def rate_limit_store(self) -> RateLimitStore:
        """The rate limits, shared with all other processes on this ledger."""
        vendor_minute_seconds = self.vendor_settings.vendor_minute_seconds or SECONDS_PER_MINUTE
        store = RateLimitStore(self.ledger.url, self.settings.home, vendor_minute_seconds / SECONDS_PER_MINUTE)
        self._exit_stack.callback(store.close)
        return store

    @cached_property
    def smartbills_io_client(self) -> SmartBillsIoClient | None:
        """The client of the receipts API, or None without a key."""
        return build_smartbills_io_client(self.vendor_settings)

    @cached_property
    def smartbills_io_rate_limiter(self) -> RateLimiter:
        """The rate limit for calls of the receipts API."""
        window = RateWindow(self.vendor_settings.smartbills_io.requests_per_minute, SECONDS_PER_MINUTE)
        return self.rate_limit_store.create_rate_limiter("smartbills_io", (window,))

    @contextmanager
    def acquire_run_lock(self) -> Iterator[None]:
        """Allow no other run during the block; the lock ends with the process, however that ends.

        Raises:
            AlreadyRunning: another run is active; the message has its process id and start time.
            RunStuck: another run holds the lock and gives no sign of life; the message says what it is stuck on.
        """
        with hold_run_lock(self.settings.home / "run.lock") as self.run_lock:
            try:
                yield
            finally:
                self.run_lock = None

    def close(self) -> None:
        """Close everything that was opened, in reverse order."""
        self._exit_stack.close()

    def __enter__(self) -> App:
        """Return the application itself."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the application."""
        self.close()


def build_user_rule_sets(settings: Settings) -> list[RuleSet]:
    """Return the rule sets that the settings add."""
    return [
        RuleSet(row.name, row.version, row.name, row.syntax, str(row.stylesheet), row.customization_id)
        for row in settings.rules.schematron
    ]


def check_vendor_settings(settings: Settings) -> None:
    """Check what each vendor would be called with; nothing is sent.

    Raises:
        ConfigurationError: the address, the key or another setting of a vendor cannot be used; names all of them.
    """
    problems = list_vendor_settings_problems(settings)
    if problems:
        lines = [f"  {name}: {problem}" for name, problem in problems.items()]
        raise ConfigurationError("\n".join(["the settings are invalid; nothing was touched:", *lines]))


def list_vendor_settings_problems(settings: Settings) -> dict[str, str]:
    """Return what is wrong with the settings of each vendor that could not be called with them."""
    problems = dict(iter_extractor_settings_problems(settings))
    try:
        build_smartbills_io_client(settings)
    except ConfigurationError as error:
        problems["smartbills_io"] = str(error)
    return problems


def get_rehearsal_mode(settings: Settings) -> str:
    """Return the mode of the settings: ``rehearsal`` or ``real``."""
    return REHEARSAL_MODE if settings.is_rehearsal else PRODUCTION_MODE


def format_mode_mismatch(settings: Settings, recorded_mode: str) -> str:
    """Return the message for a home whose recorded mode is not the mode of the settings."""
    quoted_home = repr(str(settings.home))
    if recorded_mode == PRODUCTION_MODE:
        return (
            f"{quoted_home} is for real runs, and no vendor key is set: set the keys (INVOICES_…__API_KEY); "
            "for a rehearsal, set INVOICES_HOME to another directory"
        )
    return (
        f"{quoted_home} holds a rehearsal, and vendor keys are set: "
        "for real runs, set INVOICES_HOME to another directory"
    )
