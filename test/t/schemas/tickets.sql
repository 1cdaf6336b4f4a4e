-- A ticket whose state is a number that a lookup table explains.
CREATE TABLE ticket_states (id integer PRIMARY KEY, label text UNIQUE NOT NULL);
INSERT INTO ticket_states VALUES (1, 'new'), (2, 'open'), (3, 'solved'), (4, 'rejected');
CREATE TABLE tickets (
    id integer PRIMARY KEY,
    subject text NOT NULL,
    state_id integer NOT NULL DEFAULT 1 REFERENCES ticket_states,
    assignee text
);
SELECT govern('tickets', '{"1": ["2"], "2": ["1", "3", "4"]}', state_column => 'state_id', initial_states => '{1}');
INSERT INTO tickets SELECT n, 'It does not print (' || n || ').' FROM generate_series(1, 13) n;
UPDATE tickets SET state_id = 2, assignee = 'ann';
