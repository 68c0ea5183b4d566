-- Grain: one per document about which BillflowAI found anything at all; amounts and dates as texts with one reading.
-- The net amount (BT-109) is total − tax where the totals agree in any way (stg_billflowai__totals), else not stated. A
-- discount is one of the whole invoice only if the items are not already less by it.
WITH told AS (
    SELECT
        a.document_sha256,
        1 AS ordinal,
        clean_text(payload ->> '$.invoice_number') AS invoice_number,
        normalise_date(payload ->> '$.date') AS issued_on,
        clean_text(payload ->> '$.counterparty') AS counterparty,
        coalesce(lower(payload ->> '$.invoice_kind'), 'expense') = 'revenue' AS is_ours,
        clean_text(payload ->> '$.currency') AS currency,
        t.* EXCLUDE (document_sha256)
    FROM answers AS a
    JOIN stg_billflowai__totals AS t USING (document_sha256)
)
SELECT
    document_sha256,
    ordinal,
    invoice_number,
    issued_on,
    CASE WHEN NOT is_ours THEN counterparty END AS supplier_name,
    CASE WHEN is_ours THEN counterparty END AS customer_name,
    currency,
    CASE WHEN discount IS NULL OR parse_amount(discount) IS NULL THEN discount
         WHEN is_taxed_after_discount AND NOT is_sum_of_items THEN discount_amount::VARCHAR END AS discount_amount,
    CASE WHEN is_taxed_after_discount OR is_sum_of_items OR is_tax_inclusive THEN (total_amount - tax_amount)::VARCHAR END AS net_amount,
    tax AS tax_amount,
    total AS total_amount
FROM told
WHERE coalesce(invoice_number, issued_on, counterparty, currency, subtotal, discount, tax, total) IS NOT NULL
