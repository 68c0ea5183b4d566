-- Grain: one per line of an invoice in an e-invoice document; amounts are still texts.
WITH invoices AS (
    SELECT document_sha256, parsed.syntax AS syntax, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
), lines AS (
    SELECT document_sha256, ordinal, syntax, unnest(i.lines) AS l, generate_subscripts(i.lines, 1) AS line_number FROM invoices
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
    CASE WHEN l.gross_amount IS NULL THEN clean_text(l.net_amount)
         ELSE compute_net_of_gross(clean_text(l.gross_amount), clean_text(l.tax_rate), clean_text(l.tax_amount)) END AS net_amount,
    CASE WHEN syntax = 'fatturapa' THEN classify_fatturapa_tax(clean_text(l.tax_rate), clean_text(l.exemption_code), n.tax_category)
         ELSE clean_text(l.tax_category) END AS tax_category,
    clean_text(l.tax_rate) AS tax_rate,
    clean_text(l.allowance_total) AS discount_amount,
    clean_text(l.charge_total) AS charge_amount,
    list_transform(l.allowances, lambda a: clean_text(a.amount)) AS discounts,
    list_transform(l.charges, lambda c: clean_text(c.amount)) AS charges,
    clean_text(l.gross_amount) AS gross_amount,
    concat_ws(': ', clean_text(l.exemption_code), clean_text(l.exemption_reason)) AS exemption_reason,
    clean_text(l.exemption_code) AS natura_code,
    l.price_adjustments AS price_adjustments,
    syntax
FROM lines
LEFT JOIN natura_codes AS n ON n.natura_code = clean_text(l.exemption_code)
