-- Grain: one per document in which smartbills.com found anything; amounts and dates are normalised texts.
WITH normalised AS (
    SELECT
        document_sha256,
        1 AS ordinal,
        json_text(payload -> '$.invoice_number') AS invoice_number,
        normalise_date(payload ->> '$.date') AS issued_on,
        coalesce(json_text(payload -> '$.vendor.name'), json_text(payload -> '$.vendor_info.company_name')) AS supplier_name,
        json_text(payload -> '$.currency') AS currency,
        normalise_amount(payload ->> '$.total_amount') AS total_amount
    FROM answers
    WHERE extracted_by = 'smartbills_com' AND payload IS NOT NULL
)
SELECT * FROM normalised
WHERE coalesce(invoice_number, issued_on, supplier_name, currency, total_amount) IS NOT NULL
