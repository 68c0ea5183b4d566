"""The stages of a document's life.

Each module has ``count_pending`` (units of work, or None if unknown), ``iter_pending_batches`` and ``process_batch``,
and for the progress bar ``PROGRESS_LABEL`` and ``UNIT``. The command line and the Prefect flows process the batches.
"""

from flows.stages import collect, export, extract_local, extract_remote, load, publish, validate

__all__ = ["collect", "export", "extract_local", "extract_remote", "load", "publish", "validate"]
