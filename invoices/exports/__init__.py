"""Accounting files of a batch of accepted invoices: rendered purely, written atomically, verified afterwards.

``render(batch, invoices)`` gives the files as bytes, ``write(root, batch, files)`` puts them in place all at once, and
``verify(directory)`` re-reads a finished batch against its manifest. Columns, signs and formula safety are described in
``docs/exports.md``.

Round trip: a date, number or missing value in a CSV file reads back as it was. A text cell reads back through
``cells.restore``, which takes off the apostrophes ``cells.neutralise`` put before what a spreadsheet would calculate.
What ``cells.clean`` took out is gone: control characters, carriage returns (a line end is one line feed), and
characters that no XML file can hold (U+FFFD stands for each). In the workbook a text longer than Excel's cell is cut
with a visible mark and a number of more than 15 digits is text; both are whole in the CSV files, and counted in the
manifest.
"""

from invoices.exports.atomic_write import write_batch_folder
from invoices.exports.batch_header import BatchHeader
from invoices.exports.rendering import render_batch_files
from invoices.exports.verification import verify_batch_folder

__all__ = ["BatchHeader", "render_batch_files", "verify_batch_folder", "write_batch_folder"]
