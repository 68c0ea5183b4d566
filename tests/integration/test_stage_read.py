"""The reading stage asks the malware scanner of the settings before anything opens a document."""

from __future__ import annotations

import sys
from pathlib import Path

from flows.opening import open_house
from flows.stages import collect, read
from invoices.ledger.documents import count_by_state
from invoices.report import Report
from invoices.settings import Settings

FINDS = "import sys; sys.exit(1 if b'bad' in open(sys.argv[1], 'rb').read() else 0)"


def test_what_the_scanner_finds_is_quarantined_and_the_rest_is_read(home: Settings) -> None:
    command = (sys.executable, "-c", FINDS)
    settings = home.model_copy(update={"reading": home.reading.model_copy(update={"scanner_command": command})})
    inbox = Path(settings.inbox_directory)
    inbox.mkdir(parents=True)
    (inbox / "a.txt").write_bytes(b"bad words")
    (inbox / "b.txt").write_bytes(b"good words")
    report = Report()
    with open_house(settings) as house:
        for stage in (collect, read):
            for batch in stage.pending(house, report):
                stage.work(house, batch, report)
        with house.ledger.reading() as connection:
            states = count_by_state(connection)
    assert states == {("quarantined", "malware"): 1, ("review", "unsupported_type"): 1}
