-- Grain: one per candidate and rule about plausible dates, currencies and type codes.
WITH candidate AS (
    SELECT c.*, k.currency IS NOT NULL AND coalesce(c.issued_on < k.withdrawn_on, true) AS is_currency_known,
           (greatest(c.received_at, getvariable('validated_at')) AT TIME ZONE 'UTC')::DATE + 1 AS latest_on, -- the earlier may be wrong
           t.type_code IS NOT NULL AS is_type_known, p.states_type_code,
           parse_date(s.period_started_on) AS period_started_on, parse_date(s.period_ended_on) AS period_ended_on
    FROM candidates AS c
    JOIN stated_candidates AS s USING (invoice_id)
    JOIN candidate_profiles AS p USING (invoice_id)
    LEFT JOIN currencies AS k ON k.currency = c.currency
    LEFT JOIN type_codes AS t ON t.type_code = c.type_code
)
SELECT invoice_id, unnest([
    {rule_id: 'BR-CL-01', outcome: decide_outcome(states_type_code, coalesce(is_type_known, false)),
     message: coalesce(format('type code {} is not one of an invoice or credit note', type_code), 'no type code is stated')},
    {rule_id: 'CURRENCY-KNOWN', outcome: decide_outcome(currency IS NOT NULL, is_currency_known),
     message: format('{} is not an ISO 4217 currency', currency) || coalesce(' on ' || issued_on::VARCHAR, '')},
    {rule_id: 'ISSUED-IN-TIME', outcome: decide_outcome(issued_on IS NOT NULL, issued_on BETWEEN DATE '2000-01-01' AND latest_on),
     message: format('the issue date {} is not between 2000-01-01 and {}, the day after the document was received', issued_on, latest_on)},
    {rule_id: 'DUE-AFTER-ISSUED', outcome: decide_outcome(due_on IS NOT NULL AND issued_on IS NOT NULL, due_on >= issued_on),
     message: format('the due date {} is before the issue date {}', due_on, issued_on)},
    {rule_id: 'ONE-ACCOUNT', outcome: decide_outcome(supplier_iban IS NOT NULL, further_accounts IS NULL),
     message: format('the invoice names the account {} and also {}', supplier_iban, further_accounts[:300])},
    {rule_id: 'BR-29', outcome: decide_outcome(period_started_on IS NOT NULL AND period_ended_on IS NOT NULL,
        period_ended_on >= period_started_on),
     message: format('the invoicing period ends on {}, before it begins on {}', period_ended_on, period_started_on)}
], recursive := true)
FROM candidate
