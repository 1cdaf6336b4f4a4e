-- What is known of a table goes stale in the middle of a call, and is replaced
-- by a nested one, which leaves the outer call what it works with.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA invalidated;
SET search_path = invalidated, public;

CREATE TABLE cases (id int PRIMARY KEY, state text, next int);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
SELECT create_petitions();

-- Invalidates the relation caches' entries of table and ledger, and gives the
-- next row its fate.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    GRANT SELECT ON cases, cases_fates TO public;
    REVOKE SELECT ON cases, cases_fates FROM public;
    IF tg_table_name = 'cases_fates' THEN
        UPDATE cases SET state = new.fate WHERE id = new.id + 1 AND state = 'open';
        PERFORM try_compare_and_swap(null::cases, (new.id + 1)::text, 'open', new.fate);
        PERFORM compare_and_swap(null::cases, (new.id + 10)::text, 'open', 'denied')
            FROM cases WHERE id = new.id + 10 AND state = 'open';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER before BEFORE INSERT OR UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER a_after AFTER INSERT OR UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER z_after AFTER INSERT OR UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER before BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER z_after AFTER INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION meddle();

INSERT INTO cases SELECT n, 'open' FROM generate_series(1, 19) n;
SELECT told($$SELECT compare_and_swap(null::cases, '1', 'open', 'granted')$$);
SELECT told($$SELECT compare_and_swap(null::cases, '1', 'open', 'denied')$$);
SELECT state, count(*) FROM cases GROUP BY state ORDER BY state;
SELECT told($$INSERT INTO cases VALUES (21, 'open'), (20, 'granted')$$);
SELECT state, count(*) FROM cases GROUP BY state ORDER BY state;
SELECT fate, count(*) FROM cases_fates GROUP BY fate ORDER BY fate;
SELECT * FROM verify_fates('cases');

-- the same on petitions, in bulk
CREATE FUNCTION meddle_with_petitions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    GRANT SELECT ON petition_submissions, petition_submissions_fates TO public;
    PERFORM count(*) FROM assign_fates(ARRAY[pid(1), pid(2), pid(3)], 'DELIBERATING', 'REFERRED');
    REVOKE SELECT ON petition_submissions, petition_submissions_fates FROM public;
    RETURN new;
END $$;
CREATE TRIGGER before BEFORE INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION meddle_with_petitions();
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'text' FROM generate_series(1, 5) n;
SELECT outcome, current_state FROM assign_fates(ARRAY[pid(5), pid(4), pid(4), pid(6), pid(3)], 'RECEIVED', 'ACKNOWLEDGED');
SELECT state, count(*) FROM petition_submissions GROUP BY state ORDER BY state;
SELECT * FROM verify_fates('petition_submissions');

DROP SCHEMA invalidated CASCADE;
