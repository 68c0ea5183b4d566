-- Grain: one per candidate and rule about its totals (EN 16931 BR-CO-10 … BR-CO-16), decided in whole hundredths.
-- A rule applies where the document gives both sides: MINIMUM, BASIC WL and vendors' answers have no lines by design.
WITH c AS (
    SELECT
        c.*, p.* EXCLUDE (invoice_id),
        coalesce(discount_amount, 0) AS discount, coalesce(charge_amount, 0) AS charge, coalesce(tax_amount, 0) AS tax,
        coalesce(prepaid_amount, 0) AS prepaid, coalesce(rounding_amount, 0) AS rounding,
        coalesce(allowances_amount, 0) AS allowances, coalesce(charges_amount, 0) AS charges
    FROM candidates AS c JOIN part_sums AS p USING (invoice_id)
)
SELECT invoice_id, unnest([
    {rule_id: 'BR-CO-10',
     outcome: outcome(line_total_amount IS NOT NULL AND line_count > 0, cents(line_total_amount) = cents(lines_amount)),
     message: format('the sum of lines is stated as {}, the lines add up to {}', line_total_amount, lines_amount)},
    {rule_id: 'BR-CO-11',
     outcome: outcome(discount_amount IS NOT NULL OR allowances_amount IS NOT NULL, cents(discount) = cents(allowances)),
     message: format('the sum of allowances is stated as {}, they add up to {}', discount, allowances)},
    {rule_id: 'BR-CO-12',
     outcome: outcome(charge_amount IS NOT NULL OR charges_amount IS NOT NULL, cents(charge) = cents(charges)),
     message: format('the sum of charges is stated as {}, they add up to {}', charge, charges)},
    {rule_id: 'BR-CO-13',
     outcome: outcome(net_amount IS NOT NULL AND line_total_amount IS NOT NULL,
                      cents(net_amount) = cents(line_total_amount - discount + charge)),
     message: format('the total without tax is {}, but lines {} − allowances {} + charges {} make {}', net_amount,
                     line_total_amount, discount, charge, line_total_amount - discount + charge)},
    {rule_id: 'BR-CO-14',
     outcome: outcome(tax_amount IS NOT NULL AND tax_count > 0, cents(tax_amount) = cents(taxes_amount)),
     message: format('the tax total is stated as {}, the tax categories add up to {}', tax_amount, taxes_amount)},
    {rule_id: 'BR-CO-15',
     outcome: outcome(total_amount IS NOT NULL AND net_amount IS NOT NULL, cents(total_amount) = cents(net_amount + tax)),
     message: format('the total with tax is {}, but net {} + tax {} make {}', total_amount, net_amount, tax,
                     net_amount + tax)},
    {rule_id: 'BR-CO-16',
     outcome: outcome(payable_amount IS NOT NULL AND total_amount IS NOT NULL,
                      cents(payable_amount) = cents(total_amount - prepaid + rounding)),
     message: format('the amount due is {}, but total {} − prepaid {} + rounding {} make {}', payable_amount,
                     total_amount, prepaid, rounding, total_amount - prepaid + rounding)}
], recursive := true)
FROM c
