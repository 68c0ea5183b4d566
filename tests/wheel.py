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

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "sources", "transforms", "expectations", "invoices", "sandbox")
SAMPLES = ROOT / "data" / "samples"
BORROWED = "borrowed.pth"


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
            outside = Path(directory)
            wheel = build(ROOT / "dist", outside)
            say(f"built {wheel.name}")
            say(look_inside(wheel))
            python = install(wheel, outside / "env", full=full)
            say(come_from_the_wheel(python, outside))
            say(rehearse(python, outside))
    except WheelError as error:
        print(f"the wheel does not pass: {error}", file=sys.stderr)  # noqa: T201  a command's own output
        return 1
    say(f"the wheel passed, in {time.monotonic() - started:.0f} s")
    return 0


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"wheel: {text}", flush=True)  # noqa: T201  a command's own output


def build(into: Path, outside: Path) -> Path:
    """Return the wheel, built in an isolated environment as an installer would build it."""
    for old in into.glob("*.whl"):
        old.unlink()
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(into), str(ROOT)], cwd=outside)
    wheels = list(into.glob("*.whl"))
    if len(wheels) != 1:
        raise WheelError(f"the build left {[wheel.name for wheel in wheels]!r}, not one wheel")
    return wheels[0]


def look_inside(wheel: Path) -> str:
    """Return what the wheel holds; raise WheelError for a file that lacks or has no business there."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in (".py", ".sql", ".toml", ".json")
    }
    samples = {
        f"sandbox/samples/{path.relative_to(SAMPLES).as_posix()}" for path in SAMPLES.rglob("*") if path.is_file()
    }
    if missing := sorted((ours | samples) - inside):
        raise WheelError(f"{len(missing)} files lack, among them {missing[:5]!r}")
    strangers = {name.partition("/")[0] for name in inside} - set(PACKAGES)
    if unwanted := sorted(name for name in strangers if not name.endswith(".dist-info")):
        raise WheelError(f"it also holds {unwanted!r}")
    if not any(name.endswith("/LICENSE") for name in inside):
        raise WheelError("it holds no licence")
    models = sum(name.endswith(".sql") for name in inside)
    return f"{len(inside)} files, {models} SQL models, {len(samples)} files of the sample world, nothing foreign"


def install(wheel: Path, environment: Path, *, full: bool) -> Path:
    """Return the interpreter of a new environment with the wheel and, borrowed or its own, the pinned dependencies."""
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    if not full:
        run([*pip, "--no-deps", str(wheel)], cwd=environment)
        borrow(environment)
    run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], cwd=environment)
    return python


def borrow(environment: Path) -> None:
    """Put this environment's packages last on the new one's path.

    A plain path in a .pth file is no site directory: the .pth of an editable install in it has no effect.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (environment / "lib" / version / "site-packages" / BORROWED).write_text("\n".join(paths) + "\n", encoding="utf-8")


def come_from_the_wheel(python: Path, outside: Path) -> str:
    """Return a sentence once each of our packages is imported from the new environment; else raise WheelError."""
    code = f"import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {PACKAGES!r}]))"
    files = [Path(file) for file in json.loads(run([str(python), "-c", code], cwd=outside))]
    if strays := [str(file) for file in files if not file.is_relative_to(python.parent.parent)]:
        raise WheelError(f"imported from elsewhere: {strays!r}")
    return f"all {len(files)} packages are imported from the new environment"


def rehearse(python: Path, outside: Path) -> str:
    """Return what a first run on the samples came to; raise WheelError unless a second one finds nothing new."""
    command = str(python.parent / "invoices")
    if "run" not in run([command, "--help"], cwd=outside):
        raise WheelError("invoices --help does not show the command 'run'")
    samples = [command, "run", "--samples", "--json"]
    first = check_first(last_line(run(samples, cwd=outside)))
    second = last_line(run(samples, cwd=outside))
    again = {
        "new": second["documents"]["new"],
        "paid": second["paid"]["calls"],
        "published": second["receipts"]["published"],
        "exported": second["exports"]["invoices"],
        "rows": second["rows_loaded"],
    }
    if any(again.values()):
        raise WheelError(f"a second run was not without effect: {again!r}")
    accepted = first["documents"]["by_state"]["accepted"]
    return (
        f"{first['documents']['seen']} samples seen, {accepted} accepted, {first['receipts']['published']} receipts, "
        f"{first['exports']['invoices']} exported in {first['seconds']:.1f} s; a second run changed nothing"
    )


def check_first(told: dict[str, Any]) -> dict[str, Any]:
    """Return what the first run told; raise WheelError if it did not do its work."""
    documents = told["documents"]
    if told["problems"]:
        raise WheelError(f"the first run had problems: {told['problems']!r}")
    if not documents["seen"] or documents["new"] != documents["seen"]:
        raise WheelError(f"the first run saw {documents!r}")
    if sum(documents["by_state"].values()) != documents["seen"]:
        raise WheelError(f"the states do not add up: {documents!r}")
    if not (documents["by_state"]["accepted"] and told["receipts"]["published"] and told["exports"]["invoices"]):
        raise WheelError(f"the first run accepted, published or exported nothing: {told!r}")
    return told


def last_line(output: str) -> dict[str, Any]:
    """Return the JSON object on the last line."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def run(command: Sequence[str], cwd: Path) -> str:
    """Return what a command printed; raise WheelError with all of it if it failed or printed a traceback."""
    house = {name: value for name, value in os.environ.items() if not name.startswith(("INVOICES_", "PYTHON", "COV_"))}
    house |= {"INVOICES_HOME": str(cwd / "home")}
    done = subprocess.run(command, cwd=cwd, env=house, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise WheelError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
