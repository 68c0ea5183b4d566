"""Documents: the store that keeps them, what they are by content, and the e-invoices inside."""
