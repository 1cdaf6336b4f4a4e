-- DROP INDEX
DROP INDEX new:n_name;
