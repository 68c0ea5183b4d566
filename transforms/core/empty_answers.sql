-- Grain: one per document whose answer contains no invoice, and why.
WITH answers_without_invoice AS (
    SELECT a.*, e.extracted_by IS NULL AS is_unknown, p.failed_pages,
           CASE a.extracted_by
               WHEN 'billflowai' THEN len(list_intersect(json_keys(payload), ['invoice_number', 'date', 'counterparty',
                   'currency', 'total', 'subtotal', 'discount', 'tax', 'items'])) = 0
               WHEN 'smartbills_com' THEN len(json_keys(payload)) > 0 AND len(list_intersect(json_keys(payload), ['invoice_number',
                   'date', 'vendor', 'vendor_info', 'currency', 'total_amount'])) = 0
               ELSE false END AS has_other_fields
    FROM answers AS a
    LEFT JOIN extractors AS e USING (extracted_by)
    LEFT JOIN stg_invoicedataextraction_com__pages AS p USING (document_sha256)
    WHERE a.document_sha256 NOT IN (SELECT document_sha256 FROM stated_candidates)
)
SELECT
    document_sha256,
    extraction_id,
    CASE
        WHEN is_unknown THEN 'unknown_extractor'
        WHEN payload IS NULL OR has_other_fields THEN 'unreadable_answer'
        ELSE 'nothing_found'
    END AS reason_code,
    CASE
        WHEN is_unknown THEN 'No staging model reads answers of ' || extracted_by || '.'
        WHEN payload IS NULL THEN 'The answer is not a JSON object.'
        WHEN has_other_fields THEN 'The answer has none of the fields of an invoice, but: '
            || coalesce(nullif(array_to_string(json_keys(payload)[:10], ', ')[:200], ''), 'nothing') || '.'
        ELSE 'The answer contains no invoice: no number, date, name, currency or total.'
            || coalesce(' Pages not read: ' || nullif(failed_pages, '') || '.', '')
    END AS reason
FROM answers_without_invoice
ORDER BY sequence
