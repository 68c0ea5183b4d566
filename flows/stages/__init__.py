"""The stages of a document's life. Each module tells what is ``pending`` and can ``work`` on one batch of it.

Both drivers, the command line and the Prefect flows, do nothing but take the batches of each stage in turn.
"""

from flows.stages import collect, export, extract_local, extract_remote, load, publish, validate

__all__ = ["collect", "export", "extract_local", "extract_remote", "load", "publish", "validate"]
