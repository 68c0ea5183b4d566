-- Grain: one per item that BillflowAI found in a document; amounts are normalised texts; missing and null are the same.
-- An item without a total of its own gets quantity × price, if that is exact in six decimals. What is no list of objects
-- where one is expected stays a text in the place of the item's total, which is no amount, so it is reported.
WITH item_lists AS (
    SELECT document_sha256, CASE json_type(payload -> '$.items')
        WHEN 'ARRAY' THEN from_json(payload -> '$.items', '["JSON"]')
        WHEN 'NULL' THEN NULL
        ELSE [to_json(payload ->> '$.items')] END AS items
    FROM answers
    WHERE extracted_by = 'billflowai' AND payload IS NOT NULL
), items AS (
    SELECT document_sha256, unnest(items) AS i, generate_subscripts(items, 1) AS place FROM item_lists
), normalised AS (
    SELECT
        document_sha256, place,
        json_text(i -> '$.description') AS description,
        normalise_quantity(i ->> '$.quantity') AS quantity,
        normalise_amount(i ->> '$.price') AS price,
        normalise_amount(CASE json_type(i) WHEN 'OBJECT' THEN i ->> '$.line_total' ELSE i ->> '$' END) AS line_total
    FROM items
), computed AS (
    SELECT *, (parse_quantity(quantity)::DECIMAL(19, 6) * parse_quantity(price)::DECIMAL(18, 6))::DECIMAL(38, 12) AS product FROM normalised
)
SELECT
    document_sha256, place, description, quantity, price,
    coalesce(line_total, parse_quantity(product::VARCHAR)::VARCHAR) AS amount
FROM computed
WHERE coalesce(description, quantity, price, line_total) IS NOT NULL
