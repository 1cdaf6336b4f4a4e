-- GRANT
GRANT SELECT ON new:n TO public;
