-- Grain: one per allowance (negative sign) or charge (positive sign) on a whole invoice of an e-invoice document.
WITH invoices AS (
    SELECT document_sha256, parsed.syntax AS syntax, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), document_adjustments AS (
    SELECT document_sha256, ordinal, syntax, -1 AS sign, unnest(i.allowances) AS a FROM invoices
    UNION ALL
    SELECT document_sha256, ordinal, syntax, 1 AS sign, unnest(i.charges) AS a FROM invoices
)
SELECT
    document_sha256,
    ordinal,
    sign,
    clean_text(a.amount) AS amount,
    CASE WHEN syntax = 'fatturapa' THEN classify_fatturapa_tax(clean_text(a.tax_rate), clean_text(a.exemption_code), n.tax_category)
         ELSE clean_text(a.tax_category) END AS tax_category,
    clean_text(a.tax_rate) AS tax_rate,
    clean_text(a.exemption_code) AS natura_code
FROM document_adjustments
LEFT JOIN natura_codes AS n ON n.natura_code = clean_text(a.exemption_code)
