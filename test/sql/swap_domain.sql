-- compare_and_swap returns a value of the type that its first argument has: of a
-- domain over the row type only what the domain allows.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA swap_domain;
SET search_path = swap_domain, public;

CREATE TABLE orders (id int PRIMARY KEY, state text, note text);
SELECT govern('orders', '{"open": ["hold", "closed"], "hold": ["open"]}');
INSERT INTO orders VALUES (1, 'open', 'short'), (2, 'open', NULL);
CREATE DOMAIN not_closed AS orders CHECK ((VALUE).state <> 'closed');
CREATE DOMAIN noted AS not_closed CONSTRAINT has_note CHECK (VALUE IS NULL OR (VALUE).note IS NOT NULL);
CREATE DOMAIN there AS orders NOT NULL;

SELECT told($$ SELECT compare_and_swap(NULL::not_closed, '1', 'open', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::not_closed, '1', 'open', 'hold') $$);
SELECT told($$ SELECT compare_and_swap(NULL::noted, '1', 'hold', 'open') $$);
SELECT told($$ SELECT compare_and_swap(NULL::noted, '1', 'open', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::noted, '2', 'open', 'hold') $$);
SELECT told($$ SELECT compare_and_swap(NULL::there, '2', 'open', 'hold') $$);
SELECT told($$ SELECT compare_and_swap(ROW(0, '', '')::orders::there, '2', 'open', 'hold') $$);
-- The try_ form returns no row, so there is nothing to check.
SELECT told($$ SELECT try_compare_and_swap(NULL::noted, '2', 'hold', 'open') $$);
-- One call checks many rows.
SELECT told($$ SELECT string_agg(compare_and_swap(NULL::not_closed, id::text, 'open', 'hold')::text, ' ' ORDER BY id) FROM orders $$);
SELECT told($$ SELECT count(compare_and_swap(NULL::noted, id::text, 'hold', 'open')) FROM orders $$);
-- A domain that is altered counts as it is now.
ALTER DOMAIN not_closed ADD CONSTRAINT not_open CHECK ((VALUE).state <> 'open');
SELECT told($$ SELECT compare_and_swap(NULL::not_closed, '1', 'hold', 'open') $$);
-- Nothing stays of what was refused.
SELECT * FROM orders ORDER BY id;
SELECT * FROM orders_fates;
DROP SCHEMA swap_domain CASCADE;
