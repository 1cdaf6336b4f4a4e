-- Reservations of stock, by warehouse, article and line of the order; states are UUIDs
-- that another system gave out. A line leaves the table with its warehouse.
CREATE TABLE warehouses (id smallint PRIMARY KEY, city text NOT NULL);
INSERT INTO warehouses VALUES (1, 'Kiel'), (2, 'Bern');
CREATE TABLE reservations (
    warehouse smallint NOT NULL REFERENCES warehouses ON DELETE CASCADE,
    article varchar(20) NOT NULL,
    line integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    state uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001',
    PRIMARY KEY (warehouse, article, line)
);
SELECT govern('reservations', '{"00000000-0000-4000-8000-000000000001":
    ["00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"]}', keep_rows => false);
INSERT INTO reservations SELECT 1 + n % 2, 'A,' || n % 3 || '"', n, n FROM generate_series(1, 13) n;
