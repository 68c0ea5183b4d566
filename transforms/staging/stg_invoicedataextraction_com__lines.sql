-- Grain: one per row that states a line, in their order within the invoice; amounts as texts with one reading. A line of
-- words alone is a remark. With the signs of a credit note those of its lines are turned: the net amount, and of quantity
-- and price the one that bears the sign.
WITH rows_of_lines AS (
    SELECT
        document_sha256, ordinal, row_number, is_turned,
        line_description, line_quantity, line_unit_price, line_net_amount, line_tax_rate,
        CASE
            WHEN NOT is_turned THEN 'none'
            WHEN parse_amount(line_unit_price) < 0 THEN 'price'
            WHEN parse_quantity(line_quantity) < 0 OR parse_amount(line_net_amount) > 0 THEN 'quantity'
            ELSE 'none'
        END AS sign_bearer
    FROM stg_invoicedataextraction_com__rows
    JOIN stg_invoicedataextraction_com__invoices USING (document_sha256, ordinal)
    WHERE coalesce(line_description, line_quantity, line_unit_price, line_net_amount, line_tax_rate) IS NOT NULL
)
SELECT
    document_sha256,
    ordinal,
    row_number() OVER (PARTITION BY document_sha256, ordinal ORDER BY row_number) AS line_number,
    CASE WHEN coalesce(line_quantity, line_unit_price, line_net_amount) IS NULL THEN 'information' ELSE 'detail' END AS line_kind,
    line_description AS description,
    CASE WHEN sign_bearer = 'quantity' THEN negate_decimal(line_quantity) ELSE line_quantity END AS quantity,
    CASE WHEN sign_bearer = 'price' THEN negate_decimal(line_unit_price) ELSE line_unit_price END AS unit_price_amount,
    CASE WHEN is_turned THEN negate_decimal(line_net_amount) ELSE line_net_amount END AS net_amount,
    line_tax_rate AS tax_rate
FROM rows_of_lines
