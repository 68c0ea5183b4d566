"""The stages of a document's life. Each module tells what is ``pending`` and can ``work`` on one batch of it.

Both drivers, the command line and the Prefect flows, do nothing but take the batches of each stage in turn.
"""

from flows.stages import ask, collect, export, judge, load, publish, read

__all__ = ["ask", "collect", "export", "judge", "load", "publish", "read"]
