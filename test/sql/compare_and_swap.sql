-- compare_and_swap: any governed table, any transition.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_compare_and_swap;
SET search_path = test_compare_and_swap, public;

CREATE TABLE orders (id int PRIMARY KEY, customer text, state text NOT NULL DEFAULT 'packing', updated_at timestamptz);
SELECT govern('orders', '{"packing": ["shipped", "cancelled"], "shipped": ["delivered", "lost", "packing"]}');
INSERT INTO orders SELECT n, 'c' || n FROM generate_series(1, 9) n;

SELECT compare_and_swap(NULL::orders, '1', 'packing', 'shipped');
SELECT * FROM compare_and_swap(NULL::orders, '1', 'shipped', 'packing');
SELECT (compare_and_swap(NULL::orders, ' 1 ', 'packing', 'shipped')).id;
SELECT id FROM orders_fates;
SELECT (compare_and_swap(NULL::orders, '1', 'shipped', 'delivered')).state;
SELECT id, from_state, fate FROM orders_fates;
-- The state column alone is changed.
SELECT * FROM orders WHERE id = 1;

SELECT told($$ SELECT compare_and_swap(NULL::orders, '99', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'shipped', 'delivered') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'packing', 'delivered') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'packing', 'packing') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'packing', 'eaten') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, 'two', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, NULL, 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', NULL, 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'packing', NULL) $$);

SELECT * FROM try_compare_and_swap(NULL::orders, '2', 'packing', 'shipped');
SELECT * FROM try_compare_and_swap(NULL::orders, '2', 'packing', 'shipped');
SELECT * FROM try_compare_and_swap(NULL::orders, '2', 'shipped', 'cancelled');
SELECT * FROM try_compare_and_swap(NULL::orders, '1', 'shipped', 'lost');
SELECT * FROM try_compare_and_swap(NULL::orders, '99', 'shipped', 'lost');

-- A row of the table names it as well as a null does.
SELECT (compare_and_swap(o, o.id::text, 'packing', 'cancelled')).state FROM orders o WHERE id = 3;
SELECT o.id, (try_compare_and_swap(o, o.id::text, o.state, 'shipped')).* FROM orders o ORDER BY id;

-- What is no row type of a governed table.
CREATE TYPE loose AS (id int, state text);
CREATE TABLE plain (id int PRIMARY KEY, state text);
CREATE VIEW order_view AS SELECT * FROM orders;
CREATE DOMAIN order_domain AS orders;
SELECT told($$ SELECT compare_and_swap(1, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::loose, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(ROW(1, 'x'), '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders[], '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::plain, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::order_view, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders_fates, '1', 'packing', 'shipped') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::order_domain, '9', 'shipped', 'lost') $$);

-- Petitions, too, with transitions that are no fates.
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) VALUES (pid(1), 'text');
SELECT (compare_and_swap(NULL::petition_submissions, pid(1)::text, 'RECEIVED', 'DELIBERATING')).state;
SELECT told($$ SELECT compare_and_swap(NULL::petition_submissions, 'ABCDEF00-0000-0000-0000-000000000171', 'RECEIVED', 'DELIBERATING') $$);
SELECT verify_fates('orders');
