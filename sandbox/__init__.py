"""Stand-ins for the remote APIs and the sample data they answer from; shares no code with the application."""

from __future__ import annotations

from pathlib import Path


def get_samples_directory() -> Path:
    """Return the folder of the sample data: inside the installed package, else in the checkout.

    It holds ``manifest.jsonl`` and ``inbox/``. Raises FileNotFoundError where neither place has them.
    """
    package_directory = Path(__file__).resolve().parent
    for directory in (package_directory / "samples", package_directory.parent / "data" / "samples"):
        if (directory / "manifest.jsonl").is_file():
            return directory
    raise FileNotFoundError(
        f"no sample data in {str(package_directory)!r} or beside it; run: python -m sandbox make-samples DIRECTORY"
    )
