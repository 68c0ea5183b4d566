-- Grain: one per candidate and rule about the sums of FatturaPA. The rules SDI-… are those that the state's exchange (Sistema di
-- Interscambio) checks under these numbers, with its tolerances; it checks neither the total nor the payments.
-- Lines of `stg_einvoice__lines` and taxes of `stg_einvoice__taxes` are compared by rate and code of Natura.
WITH candidate AS (
    SELECT invoice_id, document_sha256, ordinal, currency, s.derived_totals, f.document_sha256 IS NOT NULL AS is_fatturapa,
           coalesce(f.is_simplified, false) AS is_simplified, f.*
        EXCLUDE (document_sha256, ordinal, is_simplified, derived_totals, net_amount, tax_amount, total_amount, payable_amount, discount_amount, charge_amount)
    FROM candidates AS c
    JOIN (SELECT invoice_id, derived_totals FROM stated_candidates) AS s USING (invoice_id)
    LEFT JOIN stg_einvoice__fatturapa_totals AS f USING (document_sha256, ordinal)
), components AS (
    SELECT document_sha256, ordinal, tax_rate, natura_code, parse_line_amount(net_amount) AS amount
    FROM stg_einvoice__lines WHERE syntax = 'fatturapa' AND gross_amount IS NULL
    UNION ALL
    SELECT document_sha256, ordinal, tax_rate, natura_code, parse_line_amount(amount) AS amount
    FROM stg_einvoice__adjustments WHERE tax_rate IS NOT NULL
), summed AS (
    SELECT document_sha256, ordinal, parse_quantity(tax_rate) AS tax_rate, coalesce(natura_code, '') AS natura_code,
           bool_and(amount IS NOT NULL) AS is_exact, sum(amount) AS amount
    FROM components GROUP BY ALL
), summaries AS (
    SELECT document_sha256, ordinal, parse_quantity(tax_rate) AS tax_rate, coalesce(natura_code, '') AS natura_code,
           sum(parse_amount(taxable_amount)) AS taxable,
           sum(coalesce(parse_amount(rounding_amount), 0) + coalesce(parse_amount(incidental_amount), 0)) AS added,
           coalesce(bool_or(abs(parse_amount(tax_amount)::DECIMAL(20, 4) * 100::DECIMAL(3, 0)
               - parse_amount(taxable_amount)::DECIMAL(19, 4) * parse_quantity(tax_rate)::DECIMAL(18, 6)) > 1), false) AS has_wrong_tax
    FROM stg_einvoice__taxes SEMI JOIN stg_einvoice__fatturapa_totals USING (document_sha256, ordinal) GROUP BY ALL
), compared AS (
    SELECT document_sha256, ordinal, bool_or(has_wrong_tax) AS has_wrong_tax,
           bool_and(coalesce(is_exact, true) AND taxable IS NOT NULL) AS is_exact,
           string_agg(format('at {}%{} the taxable amount is {}, but lines, contributions and expenses add up to {}', format_rate(tax_rate),
               coalesce(' ' || nullif(natura_code, ''), ''), format_money(taxable, NULL), format_money(coalesce(amount, 0) + added, NULL)), '; ' ORDER BY tax_rate, natura_code)
               FILTER (WHERE abs(taxable - coalesce(amount, 0) - added) > 1) AS differences,
           string_agg(format('at {}%', format_rate(tax_rate)), ', ' ORDER BY tax_rate) FILTER (WHERE has_wrong_tax) AS wrong_taxes
    FROM summaries LEFT JOIN summed USING (document_sha256, ordinal, tax_rate, natura_code)
    GROUP BY document_sha256, ordinal
), wrong_lines AS (
    SELECT document_sha256, ordinal, string_agg(line_number::VARCHAR, ', ' ORDER BY line_number) AS line_numbers
    FROM fatturapa_line_amounts WHERE abs(stated_amount - computed_amount) > 0.01::DECIMAL(3, 2)
    GROUP BY document_sha256, ordinal
)
SELECT invoice_id, unnest([
    {rule_id: 'FPA-TOTAL', outcome: decide_outcome(is_fatturapa AND stated_total IS NOT NULL AND gross IS NOT NULL AND NOT has_percentage_alone,
        has_agreed_total),
     message: format('the total is stated as {}, but the tax summary adds up to {}{}', format_money(stated_total, currency), format_money(gross, currency),
        CASE WHEN document_discount = 0 THEN '' ELSE ' before a discount of ' || format_money(document_discount, currency) END)},
    {rule_id: 'FPA-PAYMENT', outcome: decide_outcome(is_fatturapa AND payments IS NOT NULL AND total IS NOT NULL AND NOT has_advance,
        abs(payments) = abs(total - withheld_after_total)),
     message: format('the payments add up to {}, but the total {}{} leaves {}', format_money(payments, currency), format_money(total, currency),
        CASE WHEN withheld_after_total = 0 THEN '' ELSE format(' − withheld {}', format_money(withheld_after_total, currency)) END, format_money(total - withheld_after_total, currency))},
    {rule_id: 'SDI-00421', outcome: decide_outcome(is_fatturapa AND c.has_wrong_tax IS NOT NULL, NOT c.has_wrong_tax),
     message: format('the tax is not the taxable amount × rate, within 0.01: {}', wrong_taxes)},
    {rule_id: 'SDI-00422', outcome: decide_outcome(is_fatturapa AND NOT is_simplified AND coalesce(is_exact, false), differences IS NULL), message: differences[:500]},
    {rule_id: 'SDI-00423', outcome: decide_outcome(is_fatturapa AND NOT is_simplified, line_numbers IS NULL),
     message: format('an amount other than price × quantity with its discounts, within 0.01, in lines {}', line_numbers[:100])},
    {rule_id: 'TOTALS-STATED', outcome: decide_outcome(is_fatturapa, derived_totals IS NULL),
     message: 'computed, because the document does not state it: ' || derived_totals}
], recursive := true)
FROM candidate
LEFT JOIN compared AS c USING (document_sha256, ordinal)
LEFT JOIN wrong_lines USING (document_sha256, ordinal)
