-- Grain: one per invoice of a FatturaPA document: the totals that follow from what it states, because the format has no totals
-- without tax and of tax, and those with tax and of what is due are optional. NULL where a part is not an exact amount.
-- `withheld_amount` is what the customer pays to the state instead of the supplier: withholdings, and the tax of a split payment.
WITH invoices AS (
    SELECT document_sha256, parsed.profile AS profile, unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers WHERE parsed.syntax = 'fatturapa'
), taxes AS (
    SELECT document_sha256, ordinal, bool_and(parse_amount(taxable_amount) IS NOT NULL AND parse_amount(tax_amount) IS NOT NULL) AS is_exact,
           sum(parse_amount(taxable_amount)) AS net, sum(parse_amount(tax_amount)) AS tax,
           coalesce(sum(parse_amount(tax_amount)) FILTER (WHERE tax_due = 'S'), 0) AS split_tax
    FROM stg_einvoice__taxes GROUP BY document_sha256, ordinal
), parts AS (
    SELECT
        document_sha256, ordinal, profile = 'simplified' AS is_simplified, upper(clean_text(i.currency)) AS currency, i.totals.payable AS stated_payable, coalesce(parse_amount(i.stamp_duty), 0) AS stamp_duty,
        parse_amount(i.totals.tax_inclusive) AS stated_total,
        coalesce(parse_amount(i.totals.rounding), 0) AS rounding,
        list_sum([parse_amount(a.amount) FOR a IN i.allowances]) AS discount,
        list_sum([parse_amount(c.amount) FOR c IN i.charges]) AS charge,
        list_sum([parse_amount(c.amount) FOR c IN i.charges IF c.reason_code = 'MG']) AS surcharge,
        coalesce(list_bool_or([a.amount IS NULL FOR a IN list_concat(i.allowances, i.charges)]), false) AS has_percentage_alone,
        coalesce(list_sum([parse_amount(w.amount) FOR w IN i.withholdings]), 0) AS withholdings,
        coalesce(list_bool_or([p.conditions = 'TP03' FOR p IN i.payments]), false) AS has_advance,
        len(i.payments) > 0 AND list_bool_and([parse_amount(p.amount) IS NOT NULL FOR p IN i.payments]) AS has_payments,
        list_sum([parse_amount(p.amount) FOR p IN i.payments]) AS payments,
        CASE WHEN is_exact THEN net END AS net, CASE WHEN is_exact THEN tax END AS tax, coalesce(split_tax, 0) AS split_tax
    FROM invoices LEFT JOIN taxes USING (document_sha256, ordinal)
), totals AS (
    SELECT *, net + tax + rounding AS gross, withholdings + split_tax AS withheld,
           coalesce(discount, 0) - coalesce(surcharge, 0) AS document_discount
    FROM parts
), decided AS (
    SELECT *,
        -- The specifications want the total before what is withheld, and are silent about a stamp that no line states.
        CASE WHEN stated_total IN (gross - withholdings, gross - document_discount - withholdings) AND stated_total NOT IN (gross, gross - document_discount)
             THEN withholdings ELSE 0 END AS withheld_in_total,
        CASE WHEN stated_total = gross + stamp_duty AND stated_total != gross THEN stamp_duty ELSE 0 END AS stamp_in_total,
        coalesce(stated_total, CASE WHEN document_discount = 0 AND NOT has_percentage_alone THEN gross END) AS total
    FROM totals
), due AS (
    SELECT *, withheld - withheld_in_total AS withheld_after_total, total - (withheld - withheld_in_total) AS amount_due,
           coalesce(withheld_in_total + stamp_in_total != 0 OR stated_total IN (gross, gross - document_discount), false) AS has_agreed_total
    FROM decided
)
SELECT
    document_sha256, ordinal, net::VARCHAR AS net_amount, tax::VARCHAR AS tax_amount, total::VARCHAR AS total_amount,
    discount::VARCHAR AS discount_amount, charge::VARCHAR AS charge_amount,
    nullif(withheld, 0)::VARCHAR AS withheld_amount, nullif(withheld_in_total, 0)::VARCHAR AS withheld_in_total_amount,
    nullif(stamp_in_total, 0)::VARCHAR AS other_tax_amount,
    (CASE WHEN has_payments THEN payments ELSE amount_due END)::VARCHAR AS payable_amount,
    is_simplified, stated_total, gross, document_discount, has_percentage_alone, has_agreed_total, total, withheld_after_total, has_advance,
    CASE WHEN has_payments THEN payments END AS payments,
    nullif(concat_ws('; ',
        CASE WHEN stated_total IS NULL THEN 'total with tax ' || format_money(total, currency) END,
        CASE WHEN is_simplified THEN 'total without tax ' || format_money(net, currency) END,
        CASE WHEN stated_payable IS NULL AND has_payments THEN 'amount due, which is the sum of the payments, ' || format_money(payments, currency)
             WHEN NOT coalesce(has_payments, false) THEN 'amount due ' || format_money(amount_due, currency) END,
        CASE WHEN withheld_in_total != 0 THEN 'the total is net of what is withheld, ' || format_money(withheld_in_total, currency) END), '') AS derived_totals
FROM due
