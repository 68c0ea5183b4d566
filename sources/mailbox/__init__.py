"""The mailbox source: what the mails of an IMAP account bring, each taken once."""
