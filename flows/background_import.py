"""Imports what a later stage needs while an earlier one waits for other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module


class BackgroundImport:
    """Imports modules in a thread, once."""

    def __init__(self, executor: ThreadPoolExecutor, module_names: Sequence[str]) -> None:
        self._executor, self._module_names = executor, module_names
        self._has_started = False

    def start(self) -> None:
        """Begin to import, unless that was done before."""
        if not self._has_started:
            self._has_started = True
            self._executor.submit(lambda: [import_module(name) for name in self._module_names])

    def wait(self) -> None:
        """Return when the imports have ended; none begins later.

        The stage that needs a module imports it again, which raises the error of an import that failed.
        """
        self._has_started = True
        self._executor.shutdown()


@contextmanager
def open_background_import(module_names: Sequence[str]) -> Iterator[BackgroundImport]:
    """Give a BackgroundImport, and end with its thread."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="background-import") as executor:
        yield BackgroundImport(executor, module_names)
