-- Grain: one per VAT breakdown of an invoice in an e-invoice document; amounts are still texts.
WITH invoices AS (
    SELECT document_sha256, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), taxes AS (
    SELECT document_sha256, ordinal, unnest(i.taxes) AS t, generate_subscripts(i.taxes, 1) AS tax_number FROM invoices
)
SELECT
    document_sha256,
    ordinal,
    tax_number,
    clean_text(t.category) AS tax_category,
    clean_text(t.rate) AS tax_rate,
    clean_text(t.taxable_amount) AS taxable_amount,
    clean_text(t.tax_amount) AS tax_amount,
    coalesce(clean_text(t.exemption_reason), clean_text(t.exemption_code)) AS exemption_reason
FROM taxes
