-- Grain: one per candidate with an invoice number and a supplier: content_key, of everything that the candidate states, in
-- canonical form, including lines and taxes. The keys are stored, and compared with those of later batches. What is hashed,
-- including the JSON keys, must not change.
WITH lines AS (
    SELECT invoice_id, to_json(list({a: description, b: quantity, c: unit, d: unit_price_amount, e: net_amount,
        f: tax_category, g: tax_rate, h: line_kind} ORDER BY line_number)) AS lines_json
    FROM candidate_lines GROUP BY invoice_id
), taxes AS (
    SELECT invoice_id, to_json(list({a: tax_category, b: tax_rate, c: taxable_amount, d: tax_amount}
        ORDER BY tax_number)) AS taxes_json
    FROM candidate_taxes GROUP BY invoice_id
), unparsed AS (
    SELECT invoice_id, to_json(list({a: field, b: stated_text} ORDER BY item_number, field)) AS unparsed_json
    FROM unparsed_values GROUP BY invoice_id
)
SELECT
    c.invoice_id,
    sha256(concat_ws(chr(31), 'content', to_json({
        a: c.kind, b: c.invoice_number, c: c.issued_on, d: c.due_on, e: c.order_number, f: c.supplier_name,
        g: c.supplier_tax_id, h: c.supplier_country, i: c.supplier_iban, j: c.customer_name, k: c.customer_tax_id,
        l: c.customer_country, m: c.currency, n: c.line_total_amount, o: c.discount_amount, p: c.charge_amount,
        q: c.net_amount, r: c.tax_amount, s: c.total_amount, t: c.prepaid_amount, u: c.rounding_amount,
        v: c.payable_amount, w: c.type_code, x: c.payment_terms
    }), lines_json, taxes_json, unparsed_json)) AS content_key
FROM candidates AS c
JOIN candidate_identities USING (invoice_id)
LEFT JOIN lines USING (invoice_id)
LEFT JOIN taxes USING (invoice_id)
LEFT JOIN unparsed USING (invoice_id)
