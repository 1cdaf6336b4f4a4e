-- CREATE VIEW
CREATE VIEW new:n_names AS SELECT id, name FROM new:n;
