-- The tables of the values programs: for each type one whose key it is and one whose
-- key it is a part of, in a schema whose name has to be quoted; a table that differs
-- from another one in the case of its name; and one whose trigger raises errors of class PF.

CREATE SCHEMA "50% ""odd""?";
SET search_path = "50% ""odd""?", public;
DO $$
DECLARE
    a record;
BEGIN
    FOR a IN SELECT * FROM (VALUES
        ('text', $v$O'Brien "?%s\ ü$v$), ('text', 'red'), ('text', 'None'), ('text', 'null'), ('text', 'undefined'), ('text', '<nil>'), ('text', '::1'),
        ('bigint', '9007199254740993'), ('numeric', '0.10'), ('boolean', 'true'), ('double precision', '0.1'),
        ('bytea', '\x006162ff'), ('date', '2026-03-01'), ('time', '09:30:00.25'), ('timestamp', '2026-03-01 09:30:00.25'),
        ('timestamptz', '2026-03-01 08:30:00.25+00'), ('interval', '-1.5 seconds'), ('uuid', '00000000-0000-4000-8000-000000000001'))
        AS v (type, value)
    LOOP
        IF to_regclass(quote_ident(a.type)) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (id %s PRIMARY KEY, state text NOT NULL DEFAULT ''open'', value %2$s, document jsonb)', a.type, a.type);
            EXECUTE format('CREATE TABLE %I (n integer, id %s, state text NOT NULL DEFAULT ''open'', PRIMARY KEY (n, id))', a.type || ' part', a.type);
            PERFORM govern(quote_ident(a.type)::regclass, '{"open": ["held", "won"], "held": ["open"]}'),
                govern(quote_ident(a.type || ' part')::regclass, '{"open": ["held", "won"], "held": ["open"]}');
        END IF;
        EXECUTE format('INSERT INTO %I (id) VALUES (%L)', a.type, a.value);
        EXECUTE format('INSERT INTO %I (n, id) VALUES (1, %L)', a.type || ' part', a.value);
    END LOOP;
END
$$;

-- What the last change of such a table has stored.
CREATE FUNCTION public.stored(type text) RETURNS TABLE (value text, document text) LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT value::text, document::text FROM %I.%I WHERE document IS NOT NULL', '50% "odd"?', type);
    EXECUTE format('UPDATE %I.%I SET document = NULL', '50% "odd"?', type);
END
$$;

CREATE TABLE "Orders" (id integer PRIMARY KEY, state text NOT NULL DEFAULT 'open');
CREATE TABLE orders (LIKE "Orders" INCLUDING ALL);
INSERT INTO "Orders" VALUES (1);
INSERT INTO orders VALUES (2);

-- The identifier is the DETAIL.
CREATE TABLE public.strange (id text PRIMARY KEY, state text NOT NULL DEFAULT 'open');
SELECT govern('public.strange', '{"open": ["won"]}');
INSERT INTO public.strange VALUES ('no JSON'), ('["a"]'), ('null'), ('');
CREATE FUNCTION public.raise_pf001() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'of somebody else' USING ERRCODE = 'PF001', DETAIL = old.id;
END
$$;
CREATE TRIGGER raise_pf001 BEFORE UPDATE ON public.strange FOR EACH ROW EXECUTE FUNCTION public.raise_pf001();
CREATE TABLE public.late (LIKE "Orders" INCLUDING ALL);
SELECT govern('public.late', '{"open": ["won"]}');
INSERT INTO public.late VALUES (1), (2);
