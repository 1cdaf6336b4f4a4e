-- A herd: alive or not.
CREATE TABLE animals (
    ear_tag text PRIMARY KEY,
    species text NOT NULL,
    is_alive boolean NOT NULL DEFAULT true,
    died_on date,
    CHECK (is_alive = (died_on IS NULL))
);
SELECT govern('animals', '{"true": ["false"]}', state_column => 'is_alive');
INSERT INTO animals SELECT 'DE 08 "' || n || '"', 'goat' FROM generate_series(1, 13) n;
