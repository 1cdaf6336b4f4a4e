-- COMMENT
COMMENT ON TABLE new:n IS 'It has nothing to do with fates.';
