"""PDFs: the e-invoice inside, what the pages say, and what is odd about them."""
