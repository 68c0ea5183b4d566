"""The house, opened: one place where the settings become a ledger, a store, readers and clients."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from invoices.clients.smartbills_io import SmartBillsIo
from invoices.clients.transport import make_session
from invoices.documents.reading import Limits, Readers
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import LIMITS as UNWRAPPING
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import ConfigurationError
from invoices.extraction.asking import Asking
from invoices.extraction.patience.buckets import Buckets
from invoices.extraction.patience.budget import Budget, Window
from invoices.ledger import Ledger
from invoices.ledger.claims import LEASE, claim, claim_these, holders, let_go, renew
from invoices.ledger.documents import Pending, Stage, pending
from invoices.ledger.workers import Worker
from invoices.settings import Settings

REAL_MINUTE = 60.0
RENEW_SECONDS = LEASE.total_seconds() / 5
REHEARSAL, REAL = "rehearsal", "real"


class AlreadyRunning(ConfigurationError):
    """Another run holds this house; it is not an error to find that out."""


class House:
    """Everything a stage needs, made when first asked for and closed together.

    ``vendors`` returns the settings with which vendors are called; in a rehearsal that is where the sandbox is started.
    """

    def __init__(self, settings: Settings, vendors: Callable[[ExitStack], Settings]) -> None:
        """Open the ledger and the store.

        Raises:
            ConfigurationError: the home or the ledger cannot be used.
        """
        self.settings = settings
        self._vendors = vendors
        self._closing = ExitStack()
        try:
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.store = DocumentStore(settings.documents_directory)
        except OSError as error:
            raise ConfigurationError(f"the home {str(settings.home)!r} cannot be written: {error.strerror}") from error
        self.ledger = Ledger(settings.effective_ledger_url)
        self._closing.callback(self.ledger.close)

    @property
    def rehearses(self) -> bool:
        """Whether this is a house of rehearsals: by what was done in it, else by the settings."""
        kept = self.ledger.recall("mode")
        return self.settings.rehearses if kept is None else kept == REHEARSAL

    def claim(self) -> None:
        """Fix what the house is for, once, so that rehearsed answers never get into real books.

        Raises:
            ConfigurationError: it belongs to the other of rehearsal and real life.
        """
        kept = self.ledger.remember("mode", kind_of(self.settings))
        if kept != kind_of(self.settings):
            raise ConfigurationError(of_another_kind(self.settings, kept))

    def check_kind(self) -> None:
        """Raise ConfigurationError where the house belongs to the other of rehearsal and real life; fix nothing."""
        kept = self.ledger.recall("mode")
        if kept is not None and kept != kind_of(self.settings):
            raise ConfigurationError(of_another_kind(self.settings, kept))

    @cached_property
    def vendor_settings(self) -> Settings:
        """The settings with which vendors are called."""
        return self._vendors(self._closing)

    @cached_property
    def readers(self) -> Readers:
        """The processes in which documents are opened."""
        reading = self.settings.reading
        limits = Limits(max_bytes=reading.megabytes * 1024 * 1024, seconds=reading.seconds)
        readers = Readers(workers=reading.workers, limits=limits)
        self._closing.callback(readers.close)
        return readers

    @cached_property
    def unwrappers(self) -> Unwrappers:
        """The processes in which mails and archives are opened."""
        reading = self.settings.reading
        largest = max([reading.megabytes, *(mailbox.megabytes for mailbox in self.settings.mailboxes)])
        limits = replace(UNWRAPPING, max_bytes=largest * 1024 * 1024)
        unwrappers = Unwrappers(reading.workers, limits, self.settings.intake.unpack_archives)
        self._closing.callback(unwrappers.close)
        return unwrappers

    @cached_property
    def worker(self) -> Worker:
        """This process, as those see it that work on the same ledger."""
        worker = Worker(self.settings.home / "workers")
        self._closing.callback(worker.close)
        self._closing.callback(self.let_go)
        return worker

    def claim_documents(self, stage: Stage, limit: int, after: int) -> list[Pending]:
        """Take up to ``limit`` documents in hand that wait for ``stage`` and that no living worker has."""
        self._bury_the_dead()
        with self.ledger.reading() as connection:
            if not pending(connection, stage, 1, after):
                return []
        with self.ledger.transaction() as tx:
            return claim(tx, self.worker.name, stage, limit, after=after)

    def claim_these(self, documents: Sequence[str]) -> bool:
        """Take all of these documents in hand, or none where a living worker has one; return whether they are."""
        self._bury_the_dead()
        with self.ledger.transaction() as tx:
            return claim_these(tx, self.worker.name, documents)

    @contextmanager
    def keeping_claims(self, every: float = RENEW_SECONDS) -> Iterator[None]:
        """Renew the leases of what is in hand ``every`` so many seconds in the block, and give it back at its end."""
        over = threading.Event()

        def renew_until_over() -> None:
            while not over.wait(every):
                with suppress(SQLAlchemyError), self.ledger.transaction() as tx:  # else they end, which is noticed
                    renew(tx, self.worker.name)

        renewing = threading.Thread(target=renew_until_over, name="leases", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            over.set()
            renewing.join()
            self.let_go()

    def let_go(self) -> None:
        """Give back whatever is in hand."""
        if "worker" not in vars(self):  # nobody took anything
            return
        with self.ledger.reading() as connection:
            if self.worker.name not in holders(connection):
                return
        with self.ledger.transaction() as tx:
            let_go(tx, self.worker.name)

    def _bury_the_dead(self) -> None:
        """End the claims of workers that have died, and remove their files."""
        with self.ledger.reading() as connection:
            held = holders(connection)
        dead = self.worker.dead_among(held) if held else []
        if dead:
            with self.ledger.transaction() as tx:
                for name in dead:
                    let_go(tx, name)
            self.worker.forget(dead)

    @cached_property
    def asking(self) -> Asking:
        """The extraction APIs that are set up."""
        return Asking(self.vendor_settings, self.ledger, self.store, self.buckets, self.worker.name, self.claim_these)

    @cached_property
    def buckets(self) -> Buckets:
        """The rate budgets, shared with every other process on this ledger."""
        minute = self.vendor_settings.vendor_minute_seconds or REAL_MINUTE
        buckets = Buckets(self.ledger.url, self.settings.home, minute / REAL_MINUTE)
        self._closing.callback(buckets.close)
        return buckets

    @cached_property
    def smartbills_io(self) -> SmartBillsIo | None:
        """The receipts API, or None without a key."""
        part = self.vendor_settings.smartbills_io
        if part.api_key is None:
            return None
        return SmartBillsIo(part.base_url, part.api_key.get_secret_value(), part.tenant_id, make_session(), part.path)

    @cached_property
    def smartbills_io_budget(self) -> Budget:
        """The calls that we allow ourselves."""
        allowed = Window(self.vendor_settings.smartbills_io.requests_per_minute, REAL_MINUTE)
        return self.buckets.budget("smartbills_io", (allowed,))

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other runs out while in the block; the lock ends with the process, however that ends.

        Raises:
            AlreadyRunning: another process is in such a block; names it and since when.
        """
        path = self.settings.home / "run.lock"
        with path.open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise AlreadyRunning(f"a run is already active: {lock.read().strip() or 'just started'}") from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime())}")
            lock.flush()
            yield

    def close(self) -> None:
        """Close everything that was opened, in the opposite order."""
        self._closing.close()

    def __enter__(self) -> House:
        """Return the house itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the house."""
        self.close()


def kind_of(settings: Settings) -> str:
    """Return whether settings are for a rehearsal or for real books."""
    return REHEARSAL if settings.rehearses else REAL


def of_another_kind(settings: Settings, kept: str) -> str:
    """Return the sentence for a home that holds the other ``kept`` kind of books."""
    home = repr(str(settings.home))
    if kept == REAL:
        return (
            f"{home} holds real books, and no vendor key is set: set the keys (INVOICES_…__API_KEY) here as well; "
            "for a rehearsal, set INVOICES_HOME to another directory"
        )
    return f"{home} holds a rehearsal, and vendor keys are set: set INVOICES_HOME to another directory for real books"
