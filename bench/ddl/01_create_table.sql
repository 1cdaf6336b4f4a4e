-- CREATE TABLE
CREATE TABLE new:n (id bigint PRIMARY KEY, name text NOT NULL, note text);
