-- Grain: one per row that is not empty, in the order of the answer; amounts and dates are normalised texts.
-- Rows with the same invoice number are one invoice; invoices are in the order of their first rows. A row without a number
-- belongs to the invoice before it or, at the beginning, to the first one. If the answer has one row per invoice, a row
-- without a number is an invoice of its own.
WITH row_lists AS (
    SELECT document_sha256, payload ->> '$.output_structure' = 'per_invoice' AS is_per_invoice,
           from_json(payload -> '$.rows', '[{
        "Document type": "JSON", "Invoice number": "JSON", "Invoice date": "JSON", "Due date": "JSON",
        "Order number": "JSON", "Supplier name": "JSON", "Supplier tax ID": "JSON", "Supplier country": "JSON",
        "Supplier IBAN": "JSON", "Customer name": "JSON", "Customer tax ID": "JSON", "Currency": "JSON",
        "Net amount": "JSON", "Tax amount": "JSON", "Total amount": "JSON", "Line description": "JSON",
        "Line quantity": "JSON", "Line unit price": "JSON", "Line net amount": "JSON", "Line tax rate": "JSON",
        "Review Needed": "JSON"
    }]') AS rows
    FROM answers
    WHERE extracted_by = 'invoicedataextraction_com' AND payload IS NOT NULL
), single_rows AS (
    SELECT document_sha256, is_per_invoice, unnest(rows) AS r, generate_subscripts(rows, 1) AS row_number FROM row_lists
), normalised AS (
    SELECT
        document_sha256, row_number, is_per_invoice,
        json_text(r."Document type") AS document_type,
        json_text(r."Invoice number") AS invoice_number,
        normalise_date(r."Invoice date" ->> '$') AS issued_on,
        normalise_date(r."Due date" ->> '$') AS due_on,
        json_text(r."Order number") AS order_number,
        json_text(r."Supplier name") AS supplier_name,
        json_text(r."Supplier tax ID") AS supplier_tax_id,
        json_text(r."Supplier country") AS supplier_country,
        json_text(r."Supplier IBAN") AS supplier_iban,
        json_text(r."Customer name") AS customer_name,
        json_text(r."Customer tax ID") AS customer_tax_id,
        json_text(r."Currency") AS currency,
        normalise_amount(r."Net amount" ->> '$') AS net_amount,
        normalise_amount(r."Tax amount" ->> '$') AS tax_amount,
        normalise_amount(r."Total amount" ->> '$') AS total_amount,
        json_text(r."Line description") AS line_description,
        normalise_quantity(r."Line quantity" ->> '$') AS line_quantity,
        normalise_amount(r."Line unit price" ->> '$') AS line_unit_price,
        normalise_amount(r."Line net amount" ->> '$') AS line_net_amount,
        normalise_rate(r."Line tax rate" ->> '$') AS line_tax_rate,
        json_text(r."Review Needed") AS review_needed
    FROM single_rows
), nonempty_rows AS (
    SELECT * FROM normalised
    WHERE coalesce(document_type, invoice_number, issued_on, due_on, order_number, supplier_name, supplier_tax_id,
        supplier_country, supplier_iban, customer_name, customer_tax_id, currency, net_amount, tax_amount, total_amount,
        line_description, line_quantity, line_unit_price, line_net_amount, line_tax_rate) IS NOT NULL
), keyed AS (
    SELECT *, coalesce(
        normalise_invoice_number(invoice_number),
        CASE WHEN is_per_invoice THEN ' ' || row_number END,
        last_value(normalise_invoice_number(invoice_number) IGNORE NULLS) OVER (PARTITION BY document_sha256 ORDER BY row_number),
        first_value(normalise_invoice_number(invoice_number) IGNORE NULLS) OVER (
            PARTITION BY document_sha256 ORDER BY row_number ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING),
        ''
    ) AS number_key
    FROM nonempty_rows
), numbered AS (
    SELECT *, min(row_number) OVER (PARTITION BY document_sha256, number_key) AS first_row FROM keyed
)
SELECT * EXCLUDE (number_key, is_per_invoice, first_row),
       dense_rank() OVER (PARTITION BY document_sha256 ORDER BY first_row) AS ordinal
FROM numbered
