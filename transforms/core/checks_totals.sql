-- Grain: one per candidate and rule about its totals (EN 16931 BR-CO-10 … BR-CO-16), decided in whole hundredths, and
-- exactly for vendors' answers.
-- A rule applies where the document states both sides. MINIMUM, BASIC WL and vendors' answers have no lines by design;
-- ZUGFeRD 1 BASIC states the sums of allowances and charges without listing them. The types are wide, so that no sum
-- overflows.
WITH amounts AS (
    SELECT
        invoice_id, currency, line_count, tax_count, is_einvoice, states_prepaid, has_european_sums,
        line_total_amount::DECIMAL(30, 4) AS line_total, lines_amount AS lines,
        net_amount::DECIMAL(30, 4) AS net, total_amount::DECIMAL(30, 4) AS total, payable_amount::DECIMAL(30, 4) AS payable,
        tax_amount::DECIMAL(30, 4) AS tax, taxes_amount AS taxes, coalesce(tax_amount, 0)::DECIMAL(30, 4) AS tax_or_zero,
        coalesce(discount_amount, 0)::DECIMAL(30, 4) AS allowance, coalesce(allowances_amount, 0) AS allowances,
        coalesce(charge_amount, 0)::DECIMAL(30, 4) AS charge, coalesce(charges_amount, 0) AS charges,
        coalesce(prepaid_amount, 0)::DECIMAL(30, 4) AS prepaid, coalesce(rounding_amount, 0)::DECIMAL(30, 4) AS rounding,
        coalesce(other_tax_amount, 0)::DECIMAL(30, 4) AS other_tax, coalesce(withheld_in_total_amount, 0)::DECIMAL(30, 4) AS withheld_in_total,
        coalesce(withheld_amount, 0)::DECIMAL(30, 4) - coalesce(withheld_in_total_amount, 0)::DECIMAL(30, 4) AS withheld_after_total,
        coalesce(added_after_total_amount, 0)::DECIMAL(30, 4) AS added,
        allowances_amount IS NOT NULL OR (states_allowances AND discount_amount IS NOT NULL) AS has_allowances,
        charges_amount IS NOT NULL OR (states_allowances AND charge_amount IS NOT NULL) AS has_charges
    FROM candidates
    JOIN component_sums USING (invoice_id)
    JOIN candidate_profiles USING (invoice_id)
)
SELECT invoice_id, unnest([
    {rule_id: 'BR-CO-10', outcome: decide_outcome(line_total IS NOT NULL AND line_count > 0, to_cents(line_total) = to_cents(lines)),
     message: format('the sum of lines is stated as {}, but {}', format_money(line_total, currency),
        coalesce('the lines add up to ' || format_money(lines, currency), 'no line states a net amount'))},
    {rule_id: 'BR-CO-11', outcome: decide_outcome(has_allowances, to_cents(allowance) = to_cents(allowances)),
     message: format('the sum of allowances is stated as {}, but they add up to {}',
        format_money(allowance, currency), format_money(allowances, currency))},
    {rule_id: 'BR-CO-12', outcome: decide_outcome(has_charges, to_cents(charge) = to_cents(charges)),
     message: format('the sum of charges is stated as {}, but they add up to {}',
        format_money(charge, currency), format_money(charges, currency))},
    {rule_id: 'BR-CO-13', outcome: decide_outcome(net IS NOT NULL AND line_total IS NOT NULL,
        to_cents(net) = to_cents(line_total - allowance + charge)),
     message: format('the total without tax is {}, but lines {} − allowances {} + charges {} = {}', format_money(net, currency),
        format_money(line_total, currency), format_money(allowance, currency), format_money(charge, currency),
        format_money(line_total - allowance + charge, currency))},
    {rule_id: 'BR-CO-14', outcome: decide_outcome(tax IS NOT NULL AND tax_count > 0, to_cents(tax) = to_cents(taxes)),
     message: format('the tax total is stated as {}, but {}', format_money(tax, currency),
        coalesce('the tax categories add up to ' || format_money(taxes, currency), 'no tax category states its tax'))},
    {rule_id: 'BR-CO-15', outcome: decide_outcome(total IS NOT NULL AND net IS NOT NULL AND (is_einvoice OR tax IS NOT NULL) AND has_european_sums,
        CASE WHEN is_einvoice THEN to_cents(total) = to_cents(net + tax_or_zero + other_tax - withheld_in_total) ELSE total = net + tax_or_zero END),
     message: format('the total with tax is {}, but {}', format_money(total, currency), CASE
        WHEN tax IS NULL THEN format('the total without tax is {} and no tax total is stated', format_money(net, currency))
        ELSE format('net {} + tax {}{}{} = {}', format_money(net, currency), format_money(tax, currency),
            format_addend(' + other taxes', other_tax, currency), format_addend(' − withheld', withheld_in_total, currency),
            format_money(net + tax + other_tax - withheld_in_total, currency)) END)},
    {rule_id: 'BR-CO-16', outcome: decide_outcome(payable IS NOT NULL AND total IS NOT NULL AND states_prepaid,
        to_cents(payable) = to_cents(total - prepaid + rounding - withheld_after_total + added)),
     message: format('the amount due is {}, but total {} − prepaid {} + rounding {}{}{} = {}', format_money(payable, currency),
        format_money(total, currency), format_money(prepaid, currency), format_money(rounding, currency),
        format_addend(' − withheld', withheld_after_total, currency), format_addend(' + added', added, currency),
        format_money(total - prepaid + rounding - withheld_after_total + added, currency))}
], recursive := true)
FROM amounts
