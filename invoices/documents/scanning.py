"""A malware scanner of somebody else's, asked about each file before anything opens it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from invoices.documents.outcomes import Reading, because, shown
from invoices.documents.sniffing import HEAD, media_type
from invoices.errors import TransientError

_CLEAN, _INFECTED = 0, 1  # exit statuses, as clamscan and clamdscan have them


@dataclass(frozen=True, slots=True)
class Scanner:
    """A program that is given a path as its last argument and ends with 0 for a clean file, 1 for an infected one.

    ``command`` is the program and its arguments, run without a shell: ``("clamdscan", "--no-summary", "--fdpass")``.
    """

    command: Sequence[str]
    seconds: float = 60.0

    def infected(self, paths: Iterable[Path]) -> dict[Path, Reading]:
        """Return the readings of those files in which malware was found; files that are not there are nobody's harm.

        Raises TransientError where the scanner cannot be run, takes too long, or ends with any other status.
        """
        return {path: _set_aside(path, words) for path in paths if path.is_file() if (words := self._words(path))}

    def _words(self, path: Path) -> str | None:
        """Return what the scanner says of an infected file, None for a clean one."""
        try:
            ran = subprocess.run(  # noqa: S603 - the program that the settings name
                [*self.command, str(path)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransientError(f"the malware scanner {self.command[0]!r} does not work: {error}") from error
        if ran.returncode == _CLEAN:
            return None
        if ran.returncode != _INFECTED:
            told = shown(ran.stderr.decode("utf-8", "replace").strip(), 200)
            raise TransientError(f"the malware scanner {self.command[0]!r} ended with {ran.returncode}: {told!r}")
        return ran.stdout.decode("utf-8", "replace").replace(str(path), "").strip(" :\n") or "malware"


def _set_aside(path: Path, words: str) -> Reading:
    with path.open("rb") as file:
        return because("malware", media_type(file.read(HEAD)), f"the scanner says {shown(words, 200)!r}")
