-- Grain: one per answer of BillflowAI: its totals, and in which of three ways they agree (contract sheet 03 §2.3): net
-- − discount + tax; items without tax + tax; amounts that include the tax. The sum of the items may differ by a hundredth
-- per item. A discount is subtracted, whatever its sign.
WITH normalised AS (
    SELECT
        document_sha256,
        normalise_amount(payload ->> '$.subtotal') AS subtotal,
        normalise_amount(payload ->> '$.discount') AS discount,
        normalise_amount(payload ->> '$.tax') AS tax,
        normalise_amount(payload ->> '$.total') AS total
    FROM answers
    WHERE extracted_by = 'billflowai' AND payload IS NOT NULL
), items AS (
    SELECT document_sha256, count(amount) AS item_count, bool_and(parse_quantity(amount) IS NOT NULL) AS is_complete,
           sum(parse_quantity(amount)::DECIMAL(30, 6)) AS items_amount
    FROM stg_billflowai__items
    WHERE coalesce(quantity, price, amount) IS NOT NULL
    GROUP BY document_sha256
), parsed AS (
    SELECT
        document_sha256, subtotal, discount, tax, total, item_count,
        parse_amount(subtotal)::DECIMAL(30, 4) AS subtotal_amount,
        coalesce(CASE WHEN parse_amount(subtotal) > 0 THEN abs(parse_amount(discount)) ELSE parse_amount(discount) END, 0)
            ::DECIMAL(30, 4) AS discount_amount,
        parse_amount(tax)::DECIMAL(30, 4) AS tax_amount,
        parse_amount(total)::DECIMAL(30, 4) AS total_amount,
        CASE WHEN is_complete THEN items_amount END AS items_amount,
        list_bool_and([amount IS NULL OR parse_amount(amount) IS NOT NULL FOR amount IN [subtotal, discount, tax, total]]) AS is_readable
    FROM normalised LEFT JOIN items USING (document_sha256)
)
SELECT
    *,
    is_readable AND total IS NOT NULL AND tax IS NOT NULL AND (subtotal IS NOT NULL OR items_amount IS NOT NULL) AS is_decidable,
    coalesce(to_cents(subtotal_amount - discount_amount + tax_amount) = to_cents(total_amount), false) AS is_taxed_after_discount,
    coalesce(abs(items_amount + tax_amount - total_amount) <= item_count * 0.01, false) AS is_sum_of_items,
    coalesce(to_cents(subtotal_amount - discount_amount) = to_cents(total_amount), false) AS is_tax_inclusive
FROM parsed
