-- Invitations, known by the token in the link.
CREATE TABLE invitations (
    token uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL,
    state text NOT NULL DEFAULT 'sent',
    expires_at timestamptz NOT NULL DEFAULT now() + interval '14 days',
    answered_at timestamptz
);
SELECT govern('invitations', '{"sent": ["accepted", "declined", "expired"]}', initial_states => '{sent}');
INSERT INTO invitations (email) SELECT 'guest' || n || '@example.org' FROM generate_series(1, 13) n;
