-- Grain: one per allowance (negative sign) or charge (positive sign) on a whole invoice of an e-invoice document.
WITH invoices AS (
    SELECT document_sha256, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), document_adjustments AS (
    SELECT document_sha256, ordinal, -1 AS sign, unnest(i.allowances) AS a FROM invoices
    UNION ALL
    SELECT document_sha256, ordinal, 1 AS sign, unnest(i.charges) AS a FROM invoices
)
SELECT
    document_sha256,
    ordinal,
    sign,
    clean_text(a.amount) AS amount,
    clean_text(a.tax_category) AS tax_category,
    clean_text(a.tax_rate) AS tax_rate
FROM document_adjustments
