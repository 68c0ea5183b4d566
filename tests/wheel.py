"""The wheel, tried as a newcomer has it: built, installed into an environment of its own, run outside of the checkout.

``python -m tests.wheel`` borrows the installed dependencies of this environment, so it takes well under a minute; the
six packages of ours must come from the wheel, and that is checked. ``--full`` installs every dependency anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.run_environment import CHECKOUT

PACKAGES = ("flows", "sources", "transforms", "expectations", "invoices", "sandbox")
SAMPLES = CHECKOUT / "data" / "samples"
BORROWED_PACKAGES_FILE = "borrowed.pth"


class WheelError(Exception):
    """The wheel is not what it must be; the text says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, look inside, install and run; return 0, or 1 after saying what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.wheel", description=__doc__)
    parser.add_argument("--full", action="store_true", help="install every dependency into the new environment")
    full = parser.parse_args(arguments).full
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="wheel-") as directory:
            work_directory = Path(directory)
            wheel = build_wheel(CHECKOUT / "dist", work_directory)
            print_progress(f"built {wheel.name}")
            print_progress(inspect_wheel(wheel))
            python = install_wheel(wheel, work_directory / "env", full=full)
            print_progress(check_import_locations(python, work_directory))
            print_progress(run_samples_twice(python, work_directory))
    except WheelError as error:
        print(f"the wheel does not pass: {error}", file=sys.stderr)  # noqa: T201  a command's own output
        return 1
    print_progress(f"the wheel passed, in {time.monotonic() - started:.0f} s")
    return 0


def print_progress(text: str) -> None:
    """Print one line of progress."""
    print(f"wheel: {text}", flush=True)  # noqa: T201  a command's own output


def build_wheel(output_directory: Path, work_directory: Path) -> Path:
    """Return the wheel, built in an isolated environment as an installer would build it."""
    for old_wheel in output_directory.glob("*.whl"):
        old_wheel.unlink()
    run_command(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(output_directory), str(CHECKOUT)], cwd=work_directory
    )
    wheels = list(output_directory.glob("*.whl"))
    if len(wheels) != 1:
        raise WheelError(f"the build left {[wheel.name for wheel in wheels]!r}, not one wheel")
    return wheels[0]


def inspect_wheel(wheel: Path) -> str:
    """Return what the wheel holds; raise WheelError for a file that lacks or has no business there."""
    with zipfile.ZipFile(wheel) as archive:
        packaged_files = set(archive.namelist())
    source_files = {
        path.relative_to(CHECKOUT).as_posix()
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and path.suffix in (".py", ".sql", ".toml", ".json")
    }
    samples = {
        f"sandbox/samples/{path.relative_to(SAMPLES).as_posix()}" for path in SAMPLES.rglob("*") if path.is_file()
    }
    if missing := sorted((source_files | samples) - packaged_files):
        raise WheelError(f"{len(missing)} files lack, among them {missing[:5]!r}")
    top_level_names = {name.partition("/")[0] for name in packaged_files} - set(PACKAGES)
    if unwanted := sorted(name for name in top_level_names if not name.endswith(".dist-info")):
        raise WheelError(f"it also holds {unwanted!r}")
    if not any(name.endswith("/LICENSE") for name in packaged_files):
        raise WheelError("it holds no licence")
    models = sum(name.endswith(".sql") for name in packaged_files)
    return (
        f"{len(packaged_files)} files, {models} SQL models, {len(samples)} files of the sample world, nothing foreign"
    )


def install_wheel(wheel: Path, environment: Path, *, full: bool) -> Path:
    """Return the interpreter of a new environment with the wheel and, borrowed or its own, the pinned dependencies."""
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    if not full:
        run_command([*pip, "--no-deps", str(wheel)], cwd=environment)
        link_installed_packages(environment)
    run_command([*pip, "--constraint", str(CHECKOUT / "constraints.txt"), str(wheel)], cwd=environment)
    return python


def link_installed_packages(environment: Path) -> None:
    """Put this environment's packages last on the new one's path.

    A plain path in a .pth file is no site directory: the .pth of an editable install in it has no effect.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (environment / "lib" / version / "site-packages" / BORROWED_PACKAGES_FILE).write_text(
        "\n".join(paths) + "\n", encoding="utf-8"
    )


def check_import_locations(python: Path, work_directory: Path) -> str:
    """Return a sentence once each of our packages is imported from the new environment; else raise WheelError."""
    code = f"import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {PACKAGES!r}]))"
    files = [Path(file) for file in json.loads(run_command([str(python), "-c", code], cwd=work_directory))]
    if foreign_files := [str(file) for file in files if not file.is_relative_to(python.parent.parent)]:
        raise WheelError(f"imported from elsewhere: {foreign_files!r}")
    return f"all {len(files)} packages are imported from the new environment"


def run_samples_twice(python: Path, work_directory: Path) -> str:
    """Return what a first run on the samples came to; raise WheelError unless a second one finds nothing new."""
    command = str(python.parent / "invoices")
    if "run" not in run_command([command, "--help"], cwd=work_directory):
        raise WheelError("invoices --help does not show the command 'run'")
    samples = [command, "run", "--samples", "--json"]
    first = validate_first_report(parse_last_line(run_command(samples, cwd=work_directory)))
    second = parse_last_line(run_command(samples, cwd=work_directory))
    second_counts = {
        "new": second["documents"]["new"],
        "paid": second["paid"]["calls"],
        "published": second["receipts"]["published"],
        "exported": second["exports"]["invoices"],
        "rows": second["rows_loaded"],
    }
    if any(second_counts.values()):
        raise WheelError(f"a second run was not without effect: {second_counts!r}")
    accepted = first["documents"]["by_state"]["accepted"]
    return (
        f"{first['documents']['seen']} samples seen, {accepted} accepted, {first['receipts']['published']} receipts, "
        f"{first['exports']['invoices']} exported in {first['seconds']:.1f} s; a second run changed nothing"
    )


def validate_first_report(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the first run told; raise WheelError if it did not do its work."""
    documents = report["documents"]
    if report["problems"]:
        raise WheelError(f"the first run had problems: {report['problems']!r}")
    if not documents["seen"] or documents["new"] != documents["seen"]:
        raise WheelError(f"the first run saw {documents!r}")
    if sum(documents["by_state"].values()) != documents["seen"]:
        raise WheelError(f"the states do not add up: {documents!r}")
    if not (documents["by_state"]["accepted"] and report["receipts"]["published"] and report["exports"]["invoices"]):
        raise WheelError(f"the first run accepted, published or exported nothing: {report!r}")
    return report


def parse_last_line(output: str) -> dict[str, Any]:
    """Return the JSON object on the last line."""
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def run_command(command: Sequence[str], cwd: Path) -> str:
    """Return what a command printed; raise WheelError with all of it if it failed or printed a traceback."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "PYTHON", "COV_"))
    }
    environment |= {"INVOICES_HOME": str(cwd / "home")}
    completed = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    if completed.returncode != 0 or "Traceback" in completed.stderr:
        output = completed.stdout[-2000:] + completed.stderr[-4000:]
        raise WheelError(f"{' '.join(command)} ended with {completed.returncode}:\n{output}")
    return completed.stdout


if __name__ == "__main__":
    sys.exit(main())
