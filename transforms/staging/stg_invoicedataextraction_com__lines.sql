-- Grain: one per row that states a line, in order within the invoice; amounts are normalised texts. A line of text alone
-- is an information line. If the signs of a credit note are reversed, so are those of its lines: the net amount, and either
-- the quantity or the price, whichever carries the sign.
WITH line_rows AS (
    SELECT
        document_sha256, ordinal, row_number, is_negated,
        line_description, line_quantity, line_unit_price, line_net_amount, line_tax_rate,
        CASE
            WHEN NOT is_negated THEN 'none'
            WHEN parse_amount(line_unit_price) < 0 THEN 'price'
            WHEN parse_quantity(line_quantity) < 0 OR parse_amount(line_net_amount) > 0 THEN 'quantity'
            ELSE 'none'
        END AS signed_column
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
    CASE WHEN signed_column = 'quantity' THEN negate_decimal(line_quantity) ELSE line_quantity END AS quantity,
    CASE WHEN signed_column = 'price' THEN negate_decimal(line_unit_price) ELSE line_unit_price END AS unit_price_amount,
    CASE WHEN is_negated THEN negate_decimal(line_net_amount) ELSE line_net_amount END AS net_amount,
    line_tax_rate AS tax_rate
FROM line_rows
