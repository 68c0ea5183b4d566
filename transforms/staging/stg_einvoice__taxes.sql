-- Grain: one per VAT breakdown of an invoice in an e-invoice document; amounts are still texts. The simplified format of
-- FatturaPA has only lines whose amounts include tax: its breakdown is their sum by rate.
WITH invoices AS (
    SELECT document_sha256, parsed.syntax AS syntax, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), taxes AS (
    SELECT document_sha256, ordinal, syntax, unnest(i.taxes) AS t, generate_subscripts(i.taxes, 1) AS tax_number FROM invoices
), of_lines AS (
    SELECT document_sha256, ordinal, row_number() OVER (PARTITION BY document_sha256, ordinal ORDER BY min(line_number)) AS tax_number,
           tax_category, tax_rate, nullif(exemption_reason, '') AS exemption_reason,
           bool_and(parse_amount(net_amount) IS NOT NULL) AS is_exact, sum(parse_amount(net_amount)) AS taxable,
           sum(parse_amount(gross_amount)) - sum(parse_amount(net_amount)) AS tax
    FROM stg_einvoice__lines WHERE gross_amount IS NOT NULL
    GROUP BY document_sha256, ordinal, tax_category, tax_rate, nullif(exemption_reason, '')
)
SELECT
    document_sha256,
    ordinal,
    tax_number,
    CASE WHEN syntax = 'fatturapa' THEN classify_fatturapa_tax(clean_text(t.rate), clean_text(t.exemption_code), n.tax_category)
         ELSE clean_text(t.category) END AS tax_category,
    clean_text(t.rate) AS tax_rate,
    clean_text(t.taxable_amount) AS taxable_amount,
    clean_text(t.tax_amount) AS tax_amount,
    CASE WHEN syntax = 'fatturapa' THEN nullif(concat_ws(': ', clean_text(t.exemption_code), clean_text(t.exemption_reason)), '')
         ELSE coalesce(clean_text(t.exemption_reason), clean_text(t.exemption_code)) END AS exemption_reason,
    clean_text(t.exemption_code) AS natura_code,
    clean_text(t.tax_due) AS tax_due,
    clean_text(t.rounding) AS rounding_amount,
    clean_text(t.incidental_expenses) AS incidental_amount
FROM taxes
LEFT JOIN natura_codes AS n ON n.natura_code = clean_text(t.exemption_code)
UNION ALL BY NAME
SELECT document_sha256, ordinal, tax_number, tax_category, tax_rate, exemption_reason,
       CASE WHEN is_exact THEN taxable END::VARCHAR AS taxable_amount, CASE WHEN is_exact THEN tax END::VARCHAR AS tax_amount
FROM of_lines
