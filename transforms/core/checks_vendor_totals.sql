-- Grain: one per candidate and rule about totals and lines of a vendor's answer, which states fewer of them than an
-- e-invoice, and not always the same. A hundredth per line is what rounding each line can make.
WITH lines AS (
    SELECT invoice_id, count(*) AS line_count, bool_and(net_amount IS NOT NULL) AS is_complete,
           sum(net_amount::DECIMAL(30, 6)) AS lines_amount
    FROM candidate_lines WHERE line_kind = 'detail' GROUP BY invoice_id
), c AS (
    SELECT c.*, line_count, lines_amount, t.document_sha256 IS NOT NULL AND is_decidable AS is_decidable,
           t.subtotal, t.discount, t.items_amount, is_taxed_after_discount OR is_sum_of_items OR is_tax_inclusive AS is_agreed,
           coalesce(is_complete, false) AND c.net_amount IS NOT NULL AND c.extracted_by != 'einvoice' AS has_lines,
           c.net_amount::DECIMAL(30, 4) + coalesce(c.discount_amount, 0)::DECIMAL(30, 4) AS undiscounted
    FROM candidates AS c
    LEFT JOIN lines USING (invoice_id)
    LEFT JOIN stg_billflowai__totals AS t USING (document_sha256)
)
SELECT invoice_id, unnest([
    {rule_id: 'TOTALS-AGREE', outcome: decide_outcome(is_decidable, is_agreed),
     message: format('subtotal {}, discount {}, tax {} and items {} make the total {} in no way', coalesce(subtotal, 'none'),
        coalesce(discount, 'none'), format_amount(tax_amount), format_amount(items_amount), format_amount(total_amount))},
    {rule_id: 'LINES-AGREE', outcome: decide_outcome(has_lines, abs(lines_amount - undiscounted) <= line_count * 0.01::DECIMAL(3, 2)),
     message: format('the lines add up to {}, the total without tax and discount is {}', format_amount(lines_amount), format_amount(undiscounted))},
    {rule_id: 'NEGATIVE-TOTAL', outcome: decide_outcome(extracted_by != 'einvoice' AND total_amount IS NOT NULL, total_amount >= 0),
     message: format('the {} has a total of {}; it may be a credit note', replace(kind, '_', ' '), format_amount(total_amount))}
], recursive := true)
FROM c
