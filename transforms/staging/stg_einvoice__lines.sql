-- Grain: one per line of an invoice in an e-invoice document; amounts still as texts.
WITH invoices AS (
    SELECT document_sha256, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), found AS (
    SELECT document_sha256, ordinal, unnest(i.lines) AS l, generate_subscripts(i.lines, 1) AS line_number FROM invoices
)
SELECT
    document_sha256,
    ordinal,
    line_number,
    stated(l.line_id) AS line_id,
    stated(l.parent_line_id) AS parent_line_id,
    coalesce(stated(l.line_kind), 'detail') AS line_kind,
    stated(l.description) AS description,
    stated(l.quantity) AS quantity,
    stated(l.unit) AS unit,
    stated(l.unit_price) AS unit_price_amount,
    stated(l.gross_price) AS gross_price_amount,
    stated(l.price_base_quantity) AS price_base_quantity,
    stated(l.net_amount) AS net_amount,
    stated(l.tax_category) AS tax_category,
    stated(l.tax_rate) AS tax_rate,
    stated(l.allowance_total) AS discount_amount,
    stated(l.charge_total) AS charge_amount,
    list_transform(l.allowances, lambda a: stated(a.amount)) AS discounts,
    list_transform(l.charges, lambda c: stated(c.amount)) AS charges
FROM found
