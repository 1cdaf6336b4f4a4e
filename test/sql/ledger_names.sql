-- Names too long for an identifier are shortened as the server shortens the
-- names of constraints, and never into a clash.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_ledger_names;
SET search_path = test_ledger_names, public;

CREATE FUNCTION make(name text) RETURNS TABLE (ledger text, octets int) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, state text)', name);
    ledger := govern(format('%I', name)::regclass, '{"open": ["closed"]}');
    octets := octet_length(ledger);
    EXECUTE format('INSERT INTO %I VALUES (1, ''closed'')', name);
    RETURN NEXT;
END $$;
SELECT * FROM make(repeat('a', 57));
SELECT * FROM make(repeat('b', 58));
SELECT * FROM make(repeat('c', 63));
-- What differs only in what is cut off.
SELECT * FROM make(repeat('d', 60) || '1');
SELECT * FROM make(repeat('d', 60) || '2');
SELECT * FROM make(repeat('d', 60) || '3');
-- Whose name ends in _fates, or with spaces and capitals.
SELECT * FROM make('x_fates');
SELECT * FROM make('x');
SELECT * FROM make('Two Words');
CREATE FUNCTION fates(ledger regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', ledger) INTO n;
    RETURN n;
END $$;
SELECT relname, fates(oid) FROM pg_class
WHERE relnamespace = 'test_ledger_names'::regnamespace AND relkind = 'r'
    AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = 'petition_cas_ledger')
ORDER BY relname::text COLLATE "C";
CREATE VIEW tables AS
SELECT tgrelid::regclass AS name FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
WHERE tgname = 'petition_cas_guard' AND relnamespace = 'test_ledger_names'::regnamespace;
SELECT name, problem FROM tables, verify_fates(name);

-- Governed again, each goes on with a ledger that agrees with it.
CREATE TABLE before AS SELECT name FROM tables;
SELECT count(ungovern(name)) FROM before;
SELECT govern(name, '{"open": ["closed"]}') FROM before ORDER BY name::text COLLATE "C";
SELECT name, problem FROM tables, verify_fates(name);

-- ungovern tells where a ledger has another name than govern would look for:
-- not if it is the table's own, with a number.
SET client_min_messages = notice;
SELECT ungovern(to_regclass(repeat('d', 60) || '2'));
CREATE TABLE first_name (id int PRIMARY KEY, state text);
SELECT govern('first_name', '{"open": ["closed"]}');
ALTER TABLE first_name RENAME TO second_name;
SELECT ungovern('second_name');
RESET client_min_messages;
