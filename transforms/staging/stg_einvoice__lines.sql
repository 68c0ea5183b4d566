-- Grain: one per line of an invoice in an e-invoice document; amounts are still texts.
WITH invoices AS (
    SELECT document_sha256, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), lines AS (
    SELECT document_sha256, ordinal, unnest(i.lines) AS l, generate_subscripts(i.lines, 1) AS line_number FROM invoices
)
SELECT
    document_sha256,
    ordinal,
    line_number,
    clean_text(l.line_id) AS line_id,
    clean_text(l.parent_line_id) AS parent_line_id,
    coalesce(clean_text(l.line_kind), 'detail') AS line_kind,
    clean_text(l.description) AS description,
    clean_text(l.quantity) AS quantity,
    clean_text(l.unit) AS unit,
    clean_text(l.unit_price) AS unit_price_amount,
    clean_text(l.gross_price) AS gross_price_amount,
    clean_text(l.price_base_quantity) AS price_base_quantity,
    clean_text(l.net_amount) AS net_amount,
    clean_text(l.tax_category) AS tax_category,
    clean_text(l.tax_rate) AS tax_rate,
    clean_text(l.allowance_total) AS discount_amount,
    clean_text(l.charge_total) AS charge_amount,
    list_transform(l.allowances, lambda a: clean_text(a.amount)) AS discounts,
    list_transform(l.charges, lambda c: clean_text(c.amount)) AS charges
FROM lines
