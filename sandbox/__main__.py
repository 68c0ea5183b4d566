"""The sandbox's command line: ``python -m sandbox make-samples DIR`` and ``python -m sandbox serve --state DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    if options.command == "make-samples":
        return _make_samples(options.directory)
    return _serve(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Stand-ins for remote APIs, to rehearse.")
    commands = parser.add_subparsers(dest="command", required=True)
    samples = commands.add_parser("make-samples", help="write the sample world into a folder")
    samples.add_argument("directory", type=Path)
    serve = commands.add_parser("serve", help="serve all APIs on 127.0.0.1 until stopped")
    serve.add_argument("--state", type=Path, required=True, help="folder for the journal and the uploads")
    serve.add_argument("--port", type=int, default=0, help="0 takes a free one")
    serve.add_argument("--minute-seconds", type=float, default=60.0, help="how long the vendors' minute lasts")
    serve.add_argument("--plan", choices=("free", "pro", "enterprise"), default="free")
    serve.add_argument("--until-stdin-closes", action="store_true", help="stop when the parent goes away")
    serve.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE", help="e.g. smartbills_com.plan=pro")
    return parser


def _make_samples(directory: Path) -> int:
    from sandbox.world.writing import write

    count = write(directory)
    sys.stdout.write(f"{count} files in {directory / 'inbox'}\n")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from sandbox.knobs import KnobError
    from sandbox.server import serve

    knobs = dict(knob.partition("=")[::2] for knob in options.knob)
    knobs.setdefault("smartbills_com.plan", options.plan)
    try:
        serve(
            options.state,
            port=options.port,
            minute_seconds=options.minute_seconds,
            knobs=knobs,
            until_stdin_closes=options.until_stdin_closes,
        )
    except KnobError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
