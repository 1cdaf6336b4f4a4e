-- Loans, whose state is of a domain.
CREATE DOMAIN loan_state AS text NOT NULL CHECK (VALUE IN ('applied', 'in review', 'granted', 'refused'));
CREATE TABLE loans (
    number varchar(12) PRIMARY KEY,
    amount numeric(12, 2) NOT NULL CHECK (amount > 0),
    state loan_state DEFAULT 'applied',
    interest numeric(5, 3),
    CHECK (state <> 'granted' OR interest IS NOT NULL)
);
SELECT govern('loans', '{"applied": ["in review"], "in review": ["granted", "refused"]}', initial_states => '{applied}');
INSERT INTO loans (number, amount) SELECT 'L-' || n, n * 1000.5 FROM generate_series(1, 13) n;
UPDATE loans SET state = 'in review';
