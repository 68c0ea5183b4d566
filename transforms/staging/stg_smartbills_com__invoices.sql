-- Grain: one per document about which smartbills.com found anything at all; amounts and dates as texts with one reading.
WITH told AS (
    SELECT
        document_sha256,
        1 AS ordinal,
        stated(payload ->> '$.invoice_number') AS invoice_number,
        stated_date(payload ->> '$.date') AS issued_on,
        coalesce(stated(payload ->> '$.vendor.name'), stated(payload ->> '$.vendor_info.company_name')) AS supplier_name,
        stated(payload ->> '$.currency') AS currency,
        stated_amount(payload ->> '$.total_amount') AS total_amount
    FROM answers
    WHERE extracted_by = 'smartbills_com' AND payload IS NOT NULL
)
SELECT * FROM told
WHERE coalesce(invoice_number, issued_on, supplier_name, currency, total_amount) IS NOT NULL
