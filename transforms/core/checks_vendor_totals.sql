-- Grain: one per candidate and rule about the totals and lines of a vendor's answer, which states fewer of them than
-- an e-invoice does, and not always the same ones. Totals agree exactly; the tolerance of a hundredth per line allows for
-- the rounding of lines. SUBTOTAL-NET and SUBTOTAL-TAXED name a stated amount that is not the one in the books.
WITH lines AS (
    SELECT invoice_id, count(*) AS line_count, bool_and(net_amount IS NOT NULL) AS is_complete,
           sum(net_amount::DECIMAL(30, 6)) AS lines_amount, bool_and(tax_rate IS NOT NULL) AS has_rates,
           CASE WHEN bool_and(tax_rate < 1000) THEN sum(net_amount::DECIMAL(19, 6) * TRY_CAST(tax_rate AS DECIMAL(9, 6))) END AS lines_tax_times_100
    FROM candidate_lines WHERE line_kind = 'detail' GROUP BY invoice_id
), amounts AS (
    SELECT c.*, line_count, lines_amount, has_rates, lines_tax_times_100, t.document_sha256 IS NOT NULL AND is_decidable AS is_decidable,
           t.subtotal_amount, parse_amount(t.discount) AS stated_discount, t.items_amount, is_agreed, is_confirmed,
           t.is_taxed_after_discount,
           coalesce(is_complete, false) AND c.net_amount IS NOT NULL AND c.extracted_by != 'einvoice' AS has_lines,
           c.net_amount::DECIMAL(30, 4) + coalesce(c.discount_amount, 0)::DECIMAL(30, 4) AS before_discount
    FROM candidates AS c
    LEFT JOIN lines USING (invoice_id)
    LEFT JOIN stg_billflowai__totals AS t USING (document_sha256)
), described AS (
    SELECT *, format('{}{}, but total {} − tax {} leaves {} without tax',
        coalesce('the subtotal is stated as ' || format_money(subtotal_amount, currency), 'no subtotal is stated'),
        coalesce(' with a discount of ' || format_money(stated_discount, currency), ''),
        format_money(total_amount, currency), format_money(tax_amount, currency), format_money(net_amount, currency)) AS net_text,
        coalesce('the items add up to ' || format_money(items_amount, currency), 'no items confirm it') AS items_text
    FROM amounts
)
SELECT invoice_id, unnest([
    {rule_id: 'TOTALS-AGREE', outcome: decide_outcome(is_decidable, is_agreed),
     message: format('the total {} does not follow from the other amounts: tax {}, {}, {}, {}', format_money(total_amount, currency), format_money(tax_amount, currency),
        coalesce('subtotal ' || format_money(subtotal_amount, currency), 'no subtotal'),
        coalesce('discount ' || format_money(stated_discount, currency), 'no discount'),
        coalesce('items ' || format_money(items_amount, currency), 'no amount for each item'))},
    {rule_id: 'SUBTOTAL-NET', outcome: decide_outcome(is_decidable AND is_agreed, is_confirmed), message: concat(net_text, '; ', items_text)},
    {rule_id: 'SUBTOTAL-TAXED', outcome: decide_outcome(is_decidable AND is_agreed AND is_confirmed AND subtotal_amount IS NOT NULL,
        is_taxed_after_discount),
     message: concat(net_text, ', and so do the items: the subtotal includes the tax')},
    {rule_id: 'LINES-AGREE', outcome: decide_outcome(has_lines, abs(lines_amount - before_discount) <= line_count * 0.01::DECIMAL(3, 2)),
     message: format('the lines add up to {}, but the total without tax and before discount is {}',
        format_money(lines_amount, currency), format_money(before_discount, currency))},
    {rule_id: 'LINE-TAXES-AGREE', outcome: decide_outcome(has_lines AND has_rates AND tax_amount IS NOT NULL
        AND abs(lines_amount - before_discount) <= line_count * 0.01::DECIMAL(3, 2),
        abs(lines_tax_times_100 - tax_amount::DECIMAL(20, 4) * 100::DECIMAL(3, 0)) <= line_count * 0.5::DECIMAL(2, 1)),
     message: format('the tax is stated as {}, but the rates of the lines give {}', format_money(tax_amount, currency),
        coalesce(format_money((lines_tax_times_100 * 0.01::DECIMAL(3, 2))::DECIMAL(38, 4), currency), 'more than any tax'))},
    {rule_id: 'NEGATIVE-TOTAL', outcome: decide_outcome(extracted_by != 'einvoice' AND total_amount IS NOT NULL, total_amount >= 0),
     message: format('the {} has a negative total of {}', replace(kind, '_', ' '), format_money(total_amount, currency))
         || CASE WHEN kind = 'credit_note' THEN '' ELSE '; it may be a credit note' END}
], recursive := true)
FROM described
