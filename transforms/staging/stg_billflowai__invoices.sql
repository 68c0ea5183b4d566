-- Grain: one per document in which BillflowAI found anything; amounts and dates are normalised texts.
-- The net amount (BT-109) is total − tax where the totals agree (stg_billflowai__totals), else NULL. A subtotal that is no
-- amount takes its place, so that it is reported. A discount applies to the whole invoice only if the items do not
-- already include it.
WITH totals AS (
    SELECT
        a.document_sha256,
        1 AS ordinal,
        json_text(payload -> '$.invoice_number') AS invoice_number,
        normalise_date(payload ->> '$.date') AS issued_on,
        json_text(payload -> '$.counterparty') AS counterparty,
        coalesce(lower(json_text(payload -> '$.invoice_kind')), 'expense') = 'revenue' AS is_revenue,
        json_text(payload -> '$.currency') AS currency,
        t.* EXCLUDE (document_sha256)
    FROM answers AS a
    JOIN stg_billflowai__totals AS t USING (document_sha256)
)
SELECT
    document_sha256,
    ordinal,
    invoice_number,
    issued_on,
    CASE WHEN NOT is_revenue THEN counterparty END AS supplier_name,
    CASE WHEN is_revenue THEN counterparty END AS customer_name,
    currency,
    CASE WHEN discount IS NULL OR parse_amount(discount) IS NULL THEN discount
         WHEN is_discount_separate AND NOT are_items_net THEN discount_amount::VARCHAR END AS discount_amount,
    CASE WHEN subtotal IS NOT NULL AND subtotal_amount IS NULL THEN subtotal
         WHEN is_agreed THEN net_amount::VARCHAR END AS net_amount,
    tax AS tax_amount,
    total AS total_amount
FROM totals
WHERE coalesce(invoice_number, issued_on, counterparty, currency, subtotal, discount, tax, total) IS NOT NULL
