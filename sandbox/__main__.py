"""The sandbox's command line: ``python -m sandbox make-samples DIR`` and ``python -m sandbox serve --state DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 wrong usage."""
    options = _build_parser().parse_args(arguments)
    if options.command == "make-samples":
        return _write_samples(options.directory)
    return _run_server(options)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="Stand-ins for the remote APIs, for rehearsals."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    samples_parser = commands.add_parser("make-samples", help="write the sample data into a folder")
    samples_parser.add_argument("directory", type=Path)
    serve_parser = commands.add_parser("serve", help="serve all APIs on 127.0.0.1 until stopped")
    serve_parser.add_argument("--state", type=Path, required=True, help="folder for the journal and the uploads")
    serve_parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    serve_parser.add_argument(
        "--minute-seconds", type=float, default=60.0, help="how many seconds a vendor's minute lasts"
    )
    serve_parser.add_argument("--plan", choices=("free", "pro", "enterprise"), default="free")
    serve_parser.add_argument("--until-stdin-closes", action="store_true", help="stop when the parent process ends")
    serve_parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="may be repeated; e.g. smartbills_com.plan=pro",
    )
    return parser


def _write_samples(directory: Path) -> int:
    from sandbox.sample_data.writer import write_samples

    file_count = write_samples(directory)
    sys.stdout.write(f"{file_count} files in {directory / 'inbox'}\n")
    return 0


def _run_server(options: argparse.Namespace) -> int:
    from sandbox.server import run_server
    from sandbox.settings import SettingError

    settings = dict(assignment.partition("=")[::2] for assignment in options.setting)
    settings.setdefault("smartbills_com.plan", options.plan)
    try:
        run_server(
            options.state,
            port=options.port,
            minute_seconds=options.minute_seconds,
            setting_values=settings,
            until_stdin_closes=options.until_stdin_closes,
        )
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
