-- Grain: one per invoice found in a document by invoicedataextraction.com; amounts and dates as texts with one reading.
-- A credit note whose totals are all negative has its signs turned: an amount of a credit note is positive here. A tax id
-- without the letters of a country is a tax number.
WITH heads AS (
    SELECT document_sha256, ordinal, map_from_entries(list({k: field, v: value} ORDER BY field)) AS head
    FROM stg_invoicedataextraction_com__header
    GROUP BY document_sha256, ordinal
), typed AS (
    SELECT *, CASE regexp_replace(lower(head['Document type']), '[^a-z]', '', 'g')
        WHEN 'creditnote' THEN 'credit_note' WHEN 'creditmemo' THEN 'credit_note' WHEN 'receipt' THEN 'receipt'
        ELSE 'invoice' END AS kind
    FROM heads
), signed AS (
    SELECT *, kind = 'credit_note' AND coalesce(list_bool_and([
            parse_amount(said) <= 0 FOR said IN [head['Net amount'], head['Tax amount'], head['Total amount']] IF said IS NOT NULL
        ]) AND coalesce(parse_amount(head['Total amount']), parse_amount(head['Net amount'])) < 0, false) AS is_turned
    FROM typed
)
SELECT
    document_sha256,
    ordinal,
    kind,
    head['Invoice number'] AS invoice_number,
    head['Invoice date'] AS issued_on,
    head['Due date'] AS due_on,
    head['Order number'] AS order_number,
    head['Supplier name'] AS supplier_name,
    CASE WHEN regexp_matches(upper(head['Supplier tax ID']), '^[A-Z]{2}') THEN head['Supplier tax ID'] END AS supplier_vat_id,
    head['Supplier tax ID'] AS supplier_tax_number,
    head['Supplier country'] AS supplier_country,
    head['Supplier IBAN'] AS supplier_iban,
    head['Customer name'] AS customer_name,
    head['Customer tax ID'] AS customer_tax_id,
    head['Currency'] AS currency,
    CASE WHEN is_turned THEN negate_decimal(head['Net amount']) ELSE head['Net amount'] END AS net_amount,
    CASE WHEN is_turned THEN negate_decimal(head['Tax amount']) ELSE head['Tax amount'] END AS tax_amount,
    CASE WHEN is_turned THEN negate_decimal(head['Total amount']) ELSE head['Total amount'] END AS total_amount,
    is_turned
FROM signed
