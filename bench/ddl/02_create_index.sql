-- CREATE INDEX
CREATE INDEX new:n_name ON new:n (name);
