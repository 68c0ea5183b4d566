"""PDFs as readings: the e-invoice inside, the text of the pages, flags and doubts."""
