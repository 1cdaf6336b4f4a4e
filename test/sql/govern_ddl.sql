-- The calls that make a table governed as it is, and a call that is made again.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA "Test govern_ddl";
SET search_path = "Test govern_ddl", public;
CREATE TABLE "Odd 'n"" {}" ("A, b" int, c date, state text, "paid \ for" int, amount int, "é'" text, PRIMARY KEY (c, "A, b"));
SELECT govern('"Odd ''n"" {}"', '{"new": ["sent''s", "lo\"st\\"], "sent''s": ["back"]}', initial_states => '{new,sent''s}', evidence => '{é'',amount}', keep_rows => false);
SELECT govern('"Odd ''n"" {}"', '{"1": ["2"]}', state_column => 'paid \ for');
SELECT govern_ddl('"Odd ''n"" {}"');
SELECT govern_ddl('"Odd ''n"" {}"', 'paid \ for');
CREATE TABLE orders (id int PRIMARY KEY, number int UNIQUE NOT NULL, status text);
SELECT govern('orders', '{"a": ["b"]}', 'number', 'status');
SELECT govern_ddl('orders');

-- What it says is what was done.
CREATE TABLE kept AS SELECT relation::text, state_column, key_columns, ledger::text, lifecycle, options FROM governed_tables() WHERE relation IN ('orders'::regclass, '"Odd ''n"" {}"'::regclass);
SELECT govern_ddl('"Odd ''n"" {}"') || govern_ddl('orders') AS calls \gset
SELECT ungovern('"Odd ''n"" {}"', c) FROM unnest(ARRAY['paid \ for', 'state']) c;
SELECT ungovern('orders');
SELECT count(*) FROM governed_tables() WHERE relation = 'orders'::regclass;
SET search_path = pg_catalog;
:calls
SET search_path = "Test govern_ddl", public;
TABLE kept EXCEPT SELECT relation::text, state_column, key_columns, ledger::text, lifecycle, options FROM governed_tables();
SELECT count(*) FROM kept;

SELECT told($$SELECT govern_ddl('kept')$$);
SELECT told($$SELECT govern_ddl('orders', 'none')$$);
SELECT told($$SELECT govern_ddl(NULL)$$);

RESET search_path;
DROP SCHEMA "Test govern_ddl" CASCADE;
