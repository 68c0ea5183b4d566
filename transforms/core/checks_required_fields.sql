-- Grain: one per candidate and rule about what an invoice must state (EN 16931 BR-02 … BR-15, BR-CO-09, -25, -26).
WITH candidate AS (
    SELECT c.*, s.supplier_legal_id, s.has_supplier_address, s.has_customer_address, s.supplier_vat_id,
           p.* EXCLUDE (invoice_id),
           regexp_matches(upper(s.supplier_vat_id), '^[A-Z]{2}') AS has_country_prefix
    FROM candidates AS c JOIN stated_candidates AS s USING (invoice_id) JOIN candidate_profiles AS p USING (invoice_id)
)
SELECT invoice_id, unnest([
    {rule_id: 'BR-02', outcome: decide_outcome(true, invoice_number IS NOT NULL), message: 'the invoice number is missing'},
    {rule_id: 'BR-03', outcome: decide_outcome(true, issued_on IS NOT NULL), message: 'the issue date is missing'},
    {rule_id: 'BR-04', outcome: decide_outcome(states_type_code, type_code IS NOT NULL), message: 'the type code is missing'},
    {rule_id: 'BR-05', outcome: decide_outcome(true, currency IS NOT NULL), message: 'the currency is missing'},
    {rule_id: 'BR-06', outcome: decide_outcome(true, supplier_name IS NOT NULL), message: 'the supplier''s name is missing'},
    {rule_id: 'BR-07', outcome: decide_outcome(states_customer_name, customer_name IS NOT NULL),
     message: 'the customer''s name is missing'},
    {rule_id: 'BR-08', outcome: decide_outcome(states_supplier_address, has_supplier_address), message: 'the supplier''s address is missing'},
    {rule_id: 'BR-09', outcome: decide_outcome(states_supplier_address, supplier_country IS NOT NULL),
     message: 'the supplier''s country is missing'},
    {rule_id: 'BR-10', outcome: decide_outcome(states_customer_address, has_customer_address), message: 'the customer''s address is missing'},
    {rule_id: 'BR-11', outcome: decide_outcome(states_customer_address, customer_country IS NOT NULL),
     message: 'the customer''s country is missing'},
    {rule_id: 'BR-12', outcome: decide_outcome(states_line_total, line_total_amount IS NOT NULL), message: 'the sum of lines is missing'},
    {rule_id: 'BR-13', outcome: decide_outcome(states_net_total OR tax_amount IS NOT NULL, net_amount IS NOT NULL),
     message: 'the total without tax is missing'},
    {rule_id: 'BR-14', outcome: decide_outcome(true, total_amount IS NOT NULL), message: 'the total with tax is missing'},
    {rule_id: 'BR-15', outcome: decide_outcome(states_payable, payable_amount IS NOT NULL), message: 'the amount due is missing'},
    {rule_id: 'TAX-STATED', outcome: decide_outcome(true, tax_amount IS NOT NULL OR (is_einvoice AND net_amount = total_amount)),
     message: CASE WHEN is_einvoice THEN 'no tax total is stated, but the totals with and without tax differ'
         ELSE 'the extractor returned no tax total; add or confirm it by hand' END},
    {rule_id: 'BR-CO-09', outcome: decide_outcome(supplier_vat_id IS NOT NULL, has_country_prefix),
     message: format('the supplier''s VAT id {} does not begin with a country code', supplier_vat_id)},
    {rule_id: 'BR-CO-25', outcome: decide_outcome(states_payment_terms AND coalesce(payable_amount > 0, false), due_on IS NOT NULL OR payment_terms IS NOT NULL),
     message: 'neither a due date nor payment terms are stated'},
    {rule_id: 'BR-CO-26', outcome: decide_outcome(states_supplier_id, coalesce(supplier_tax_id, supplier_legal_id) IS NOT NULL),
     message: 'the supplier has no VAT id, tax number or registration number'}
], recursive := true)
FROM candidate
