"""Reading the vendor's list of receipts: which receipts exist there, also while the list changes.

No clock of ours decides where reading ends, and a list that may be incomplete is no proof that a receipt is absent:

- A receipt that is added moves the others to later pages, where they are read twice: harmless.
- A receipt that is deleted moves others to pages that were read already, so they are missed. Then the deleted one is in
  this reading and not in the next one; so the list is read until two readings agree.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from invoices.clients.error_mapping import NotFound
from invoices.clients.smartbills_io import PAGE_SIZE, ReceiptPage, RemoteReceipt
from invoices.errors import ContractError, UnknownOutcome

MAX_PAGES = 100_000
MAX_READINGS = 5  # of the whole list, until two agree


@dataclass(frozen=True, slots=True)
class RemoteReceiptIndex:
    """All receipts of the vendor's list by receipt id (there should be one each), and the vendor's time of reading."""

    receipts: Mapping[str, list[RemoteReceipt]]
    read_at: dt.datetime


@dataclass(frozen=True, slots=True)
class NewestReceipts:
    """The newest pages of the list; ``is_sorted`` if they are known to hold the newest receipts."""

    receipts: list[RemoteReceipt]
    is_sorted: bool


class RemoteReceiptList:
    """The vendor's list, newest receipt first; ``fetch_page`` returns one page by its number, from 1."""

    def __init__(self, fetch_page: Callable[[int], ReceiptPage]) -> None:
        """Read nothing yet."""
        self._fetch_page = fetch_page
        self._server_time: dt.datetime | None = None

    @property
    def server_time(self) -> dt.datetime:
        """The vendor's time of the last page; ours, if the vendor states none."""
        return self._server_time or dt.datetime.now(dt.UTC)

    def read_all(self) -> RemoteReceiptIndex:
        """Return the whole list, read until two readings agree.

        Raises:
            UnknownOutcome: receipts keep disappearing, or the list shows fewer receipts than it counts.
            ContractError: the vendor ignores the number of the page.
        """
        previous_ids: set[int] | None = None
        for _ in range(MAX_READINGS):
            receipts_by_id: dict[int, RemoteReceipt] = {}
            stated_counts: list[int | None] = []
            for page in self._iter_pages():
                receipts_by_id.update((receipt.id, receipt) for receipt in page.receipts)
                stated_counts.append(page.total_count)
            is_one_answer = len(stated_counts) == 1 and bool(receipts_by_id)
            if is_one_answer or (previous_ids is not None and previous_ids <= receipts_by_id.keys()):
                _check_list_is_complete((stated_counts[0], stated_counts[-1]), len(receipts_by_id))
                return RemoteReceiptIndex(_group_by_receipt_id(receipts_by_id), self.server_time)
            previous_ids = set(receipts_by_id)
        raise UnknownOutcome("receipts keep disappearing from the vendor's list, so it does not show what exists")

    def read_newest(self, is_ours: Callable[[RemoteReceipt], bool]) -> NewestReceipts:
        """Return the newest pages, as many as it takes to see one receipt of ours; an empty list is read twice."""
        for _ in range(2):
            newest_receipts: list[RemoteReceipt] = []
            is_last = True
            for page in self._iter_pages():
                newest_receipts += page.receipts
                is_last = page.is_last
                if any(is_ours(receipt) for receipt in page.receipts):
                    break
            if newest_receipts:
                break
        return NewestReceipts(newest_receipts, is_last or _is_newest_first(newest_receipts))

    def find_new_receipts(self, receipt_id: str, earlier: NewestReceipts) -> list[RemoteReceipt]:
        """Return the receipts with our ``receipt_id`` that are not older than those that were the newest before."""
        earlier_ids = {receipt.id for receipt in earlier.receipts} if earlier.is_sorted else set()
        receipts: list[RemoteReceipt] = []
        for page in self._iter_pages():
            receipts += page.receipts
            if earlier_ids & {receipt.id for receipt in page.receipts} and _is_newest_first(receipts):
                break
        return list({receipt.id: receipt for receipt in receipts if receipt.receipt_id == receipt_id}.values())

    def _iter_pages(self) -> Iterator[ReceiptPage]:
        """Yield all pages, without the other values of their receipts.

        Raises ContractError for a full page with nothing new, because then paging is broken.
        """
        seen_ids: set[int] = set()
        for page_number in range(1, MAX_PAGES):
            try:
                page = self._fetch_page(page_number)
            except NotFound:
                if page_number == 1:
                    raise
                return
            self._server_time = page.server_time
            page_ids = {receipt.id for receipt in page.receipts}
            if page_ids and page_ids <= seen_ids and page.total_pages is None:
                if len(page.receipts) < PAGE_SIZE:  # the last page once more
                    return
                raise ContractError(f"page {page_number} of the receipts holds only receipts of earlier pages")
            seen_ids |= page_ids
            yield replace(page, receipts=tuple(replace(receipt, raw={}) for receipt in page.receipts))
            if page.is_last:
                return
        raise ContractError(f"the list of receipts has more than {MAX_PAGES} pages")


def _check_list_is_complete(stated_counts: Sequence[int | None], receipt_count: int) -> None:
    """Raise UnknownOutcome if the list has shown fewer receipts than it counted, on its first and on its last page."""
    expected_count = min((count for count in stated_counts if count is not None), default=0)
    if receipt_count < expected_count:
        raise UnknownOutcome(
            f"the vendor's list counts {expected_count} receipts and shows only {receipt_count}, "
            "so it does not show what exists"
        )


def _group_by_receipt_id(receipts_by_id: Mapping[int, RemoteReceipt]) -> dict[str, list[RemoteReceipt]]:
    groups: dict[str, list[RemoteReceipt]] = {}
    for receipt in receipts_by_id.values():
        if receipt.receipt_id is not None:
            groups.setdefault(receipt.receipt_id, []).append(receipt)
    return groups


def _is_newest_first(receipts: Sequence[RemoteReceipt]) -> bool:
    """Return whether the receipts are known to be sorted by the time of their creation, newest first."""
    times = [receipt.created_at for receipt in receipts if receipt.created_at is not None]
    is_sorted = len(times) == len(receipts) and times == sorted(times, reverse=True)
    return is_sorted and bool(times) and times[0] > times[-1]
