-- Grain: one per accepted expense with something to pay, and how late it is on the day of marts.clock.
-- Payments are not recorded here: the open amount is the amount due that the invoice states. Credit notes count negative.
WITH payable AS (
    SELECT
        i.*, c.as_of_on,
        CASE WHEN i.kind = 'credit_note' THEN -1 ELSE 1 END * coalesce(i.payable_amount, i.total_amount) AS open_amount,
        greatest(c.as_of_on - i.due_on, 0) AS days_overdue
    FROM core.invoices AS i
    CROSS JOIN marts.clock AS c
    WHERE i.direction = 'expense' AND i.kind IN ('invoice', 'credit_note')
)
SELECT
    invoice_id,
    supplier_name,
    supplier_tax_id,
    invoice_number,
    kind,
    issued_on,
    due_on,
    as_of_on,
    CASE WHEN due_on IS NOT NULL THEN days_overdue END AS overdue_day_count,
    CASE
        WHEN due_on IS NULL THEN 'no due date'
        WHEN days_overdue = 0 THEN 'not due'
        WHEN days_overdue <= 30 THEN '1-30'
        WHEN days_overdue <= 60 THEN '31-60'
        WHEN days_overdue <= 90 THEN '61-90'
        ELSE 'over 90'
    END AS bucket,
    currency,
    open_amount::DECIMAL(18, 4) AS open_amount
FROM payable
WHERE open_amount != 0
ORDER BY due_on NULLS LAST, invoice_id
