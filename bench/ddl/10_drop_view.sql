-- DROP VIEW
DROP VIEW new:n_names;
