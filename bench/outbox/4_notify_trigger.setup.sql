SELECT create_petitions();
CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY fates;
    RETURN NULL;
END
$$;
CREATE TRIGGER wake AFTER INSERT ON petition_submissions_fates FOR EACH STATEMENT EXECUTE FUNCTION wake();
