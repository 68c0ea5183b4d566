"""Fixtures for the tests of flows."""

from __future__ import annotations

import pytest

from tests.integration.sources.mailbox.mailbox_fixtures import build_invoice_mail
from tests.servers.dovecot_server import DovecotServer, MailAccount


@pytest.fixture
def account(dovecot: DovecotServer) -> MailAccount:
    """A mailbox with two mails."""
    new_account = dovecot.create_account()
    for number in (1, 2):
        new_account.deliver_message(build_invoice_mail(number))
    return new_account
