-- Grain: one per header field of an invoice in the answer: the first value that its rows state (they repeat the header, so
-- nothing is summed), and all values if they contradict each other.
WITH header_values AS (
    SELECT document_sha256, ordinal, row_number, unnest([
        {field: 'Document type', value: document_type}, {field: 'Invoice number', value: invoice_number},
        {field: 'Invoice date', value: issued_on}, {field: 'Due date', value: due_on},
        {field: 'Order number', value: order_number}, {field: 'Supplier name', value: supplier_name},
        {field: 'Supplier tax ID', value: supplier_tax_id}, {field: 'Supplier country', value: supplier_country},
        {field: 'Supplier IBAN', value: supplier_iban}, {field: 'Customer name', value: customer_name},
        {field: 'Customer tax ID', value: customer_tax_id}, {field: 'Currency', value: currency},
        {field: 'Net amount', value: net_amount}, {field: 'Tax amount', value: tax_amount},
        {field: 'Total amount', value: total_amount}
    ], recursive := true)
    FROM stg_invoicedataextraction_com__rows
), compared AS (
    SELECT *, CASE WHEN field LIKE '% amount' THEN coalesce(parse_amount(value)::VARCHAR, value)
                   WHEN field LIKE '% name' THEN coalesce(normalise_name(value), value)
                   ELSE coalesce(normalise_invoice_number(value), value) END AS comparable_value
    FROM header_values
    WHERE value IS NOT NULL
), distinct_values AS (
    SELECT document_sha256, ordinal, field, comparable_value, min(row_number) AS first_row, arg_min(value, row_number) AS value
    FROM compared
    GROUP BY document_sha256, ordinal, field, comparable_value
)
SELECT
    document_sha256, ordinal, field,
    arg_min(value, first_row) AS value,
    count(*) AS value_count,
    string_agg(value[:60], ', ' ORDER BY first_row)[:200] AS stated_values
FROM distinct_values
GROUP BY document_sha256, ordinal, field
