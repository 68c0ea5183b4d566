-- Grain: one per invoice that invoicedataextraction.com found in a document; amounts and dates are normalised texts.
-- If all totals of a credit note are negative, its signs are reversed: amounts of credit notes are positive here. A tax
-- id without a country code is a tax number.
WITH headers AS (
    SELECT document_sha256, ordinal, map_from_entries(list({k: field, v: value} ORDER BY field)) AS header
    FROM stg_invoicedataextraction_com__header
    GROUP BY document_sha256, ordinal
), typed AS (
    SELECT *, CASE regexp_replace(lower(header['Document type']), '[^a-z]', '', 'g')
        WHEN 'creditnote' THEN 'credit_note' WHEN 'creditmemo' THEN 'credit_note' WHEN 'receipt' THEN 'receipt'
        ELSE 'invoice' END AS kind
    FROM headers
), signed AS (
    SELECT *, kind = 'credit_note' AND coalesce(list_bool_and([
            parse_amount(amount) <= 0 FOR amount IN [header['Net amount'], header['Tax amount'], header['Total amount']] IF amount IS NOT NULL
        ]) AND coalesce(parse_amount(header['Total amount']), parse_amount(header['Net amount'])) < 0, false) AS is_negated
    FROM typed
)
SELECT
    document_sha256,
    ordinal,
    kind,
    header['Invoice number'] AS invoice_number,
    header['Invoice date'] AS issued_on,
    header['Due date'] AS due_on,
    header['Order number'] AS order_number,
    header['Supplier name'] AS supplier_name,
    CASE WHEN regexp_matches(upper(header['Supplier tax ID']), '^[A-Z]{2}') THEN header['Supplier tax ID'] END AS supplier_vat_id,
    header['Supplier tax ID'] AS supplier_tax_number,
    header['Supplier country'] AS supplier_country,
    header['Supplier IBAN'] AS supplier_iban,
    header['Customer name'] AS customer_name,
    header['Customer tax ID'] AS customer_tax_id,
    header['Currency'] AS currency,
    CASE WHEN is_negated THEN negate_decimal(header['Net amount']) ELSE header['Net amount'] END AS net_amount,
    CASE WHEN is_negated THEN negate_decimal(header['Tax amount']) ELSE header['Tax amount'] END AS tax_amount,
    CASE WHEN is_negated THEN negate_decimal(header['Total amount']) ELSE header['Total amount'] END AS total_amount,
    is_negated
FROM signed
