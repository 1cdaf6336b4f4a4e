-- The fates of a table as a feed.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_fates_since;
SET search_path = test_fates_since, public;
CREATE TABLE orders (tenant int, id numeric, state text DEFAULT 'new', paid text DEFAULT 'due', PRIMARY KEY (tenant, id));
SELECT govern('orders', '{"new": ["sent", "lost"]}');
SELECT govern('orders', '{"due": ["paid"]}', state_column => 'paid');
INSERT INTO orders SELECT 7, n FROM generate_series(1, 20) n;
SELECT count(*) FROM fates_since('orders', state_column => 'state');
UPDATE orders SET state = 'sent' WHERE id IN (5, 3, 10);
SELECT outcome FROM try_compare_and_swap(NULL::orders, '[7, 1]', 'new', 'lost', reason => 'why', request_id => 'r', state_column => 'state');
UPDATE orders SET paid = 'paid' WHERE id = 1;

-- In the order of transactions, and of keys.
SELECT key, from_state, fate, assigned_by, reason, request_id, evidence_hash, regexp_replace(next_token, '^\d+/\d+', '...') AS next_token
FROM fates_since('orders', state_column => 'state');
-- Each token goes on behind its row, within a transaction too.
SELECT l.key, (SELECT array_agg(key) FROM fates_since('orders', l.next_token, state_column => 'state')) AS later FROM fates_since('orders', state_column => 'state') l;
SELECT key FROM fates_since('orders', NULL, 2, 'state');
SELECT next_token AS token FROM fates_since('orders', NULL, 2, 'state') OFFSET 1 \gset
SELECT key FROM fates_since('orders', :'token', 0, 'state');
SELECT key FROM fates_since('orders', :'token', 1, 'state');
SELECT key FROM fates_since('orders', state_column => 'paid');
-- What is not committed is not in it, the transaction's own fates included; nor is what comes after.
SELECT next_token AS token FROM fates_since('orders', state_column => 'state') OFFSET 3 \gset
BEGIN;
UPDATE orders SET state = 'lost' WHERE id = 15;
SELECT key FROM fates_since('orders', :'token', state_column => 'state');
COMMIT;
SELECT key FROM fates_since('orders', :'token', state_column => 'state');

-- Arguments.
SELECT token, told(format($$SELECT fates_since('orders', %L, state_column => 'state')$$, token))
FROM unnest(ARRAY['', 'x', '1/2', '1/2/3/4', '1/2/3 ', '-1/2/3', '99999999999999999999999/1/1x', '1/x/3']) token;
SELECT split_part(regexp_replace(told($$SELECT fates_since('orders', '1/2/3', state_column => 'state')$$), '\d{10,}', 'ID'), E'\n', 1);
SELECT place, regexp_replace(told(format($$SELECT fates_since('orders', %L, state_column => 'state')$$, split_part(:'token', '/', 1) || '/' || place)), '"\d+/', '"...')
FROM unnest(ARRAY['3/18446744073709551615', '18446744073709551615/0', '99999999999999999999999/1']) place;
SELECT told($$SELECT fates_since('orders', at_most => -1, state_column => 'state')$$);
SELECT told($$SELECT fates_since('orders')$$);
SELECT told($$SELECT fates_since(NULL)$$);
SELECT told($$SELECT fates_since('pg_class')$$);
-- The caller needs SELECT on the ledger, and no more.
CREATE ROLE regress_feed;
GRANT USAGE ON SCHEMA test_fates_since TO regress_feed;
SET ROLE regress_feed;
SELECT told($$SELECT fates_since('orders', state_column => 'state')$$);
RESET ROLE;
GRANT SELECT ON orders_fates TO regress_feed;
SET ROLE regress_feed;
SELECT count(*) FROM fates_since('orders', state_column => 'state');
RESET ROLE;
-- Fates of another cluster's transactions are in no order with ours.
SET session_replication_role = replica;
INSERT INTO orders_fates VALUES (8, 1, 'new', 'sent', now(), 'restored', '1000000000000');
RESET session_replication_role;
SELECT told($$SELECT fates_since('orders', state_column => 'state')$$);
SET petition_cas.allow_unguard = on;
UPDATE orders_fates SET transaction_id = '3' WHERE tenant = 8;
RESET petition_cas.allow_unguard;
SELECT key, assigned_by FROM fates_since('orders', NULL, 1, 'state');

RESET search_path;
DROP SCHEMA test_fates_since CASCADE;
DROP ROLE regress_feed;
