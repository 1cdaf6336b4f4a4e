-- Leave requests, whose state follows from what was answered: plain SQL moves it.
CREATE TABLE leave_requests (
    employee integer NOT NULL,
    first_day date NOT NULL,
    granted boolean,
    state text GENERATED ALWAYS AS (CASE WHEN granted THEN 'granted' WHEN NOT granted THEN 'refused' ELSE 'asked' END) STORED,
    PRIMARY KEY (employee, first_day)
);
SELECT govern('leave_requests', '{"asked": ["granted", "refused"]}');
INSERT INTO leave_requests SELECT n % 4, date '2026-07-01' + n FROM generate_series(1, 13) n;
