-- An order with a lifecycle of its own, one of its payment and one of its shipment.
CREATE TABLE purchases (
    id uuid PRIMARY KEY,
    customer text NOT NULL,
    state varchar(20) NOT NULL DEFAULT 'placed',
    payment_state varchar(20) NOT NULL DEFAULT 'due',
    shipment_state varchar(20) NOT NULL DEFAULT 'waiting',
    paid_at timestamptz,
    parcel integer,
    CHECK (payment_state <> 'paid' OR paid_at IS NOT NULL),
    CHECK (shipment_state <> 'sent' OR parcel IS NOT NULL)
);
SELECT govern('purchases', '{"placed": ["accepted"], "accepted": ["completed", "cancelled"]}', initial_states => '{placed}');
SELECT govern('purchases', '{"due": ["paid", "waived"]}', state_column => 'payment_state');
SELECT govern('purchases', '{"waiting": ["sent", "returned"]}', state_column => 'shipment_state');
INSERT INTO purchases (id, customer) SELECT md5(n::text)::uuid, 'customer ' || n FROM generate_series(1, 13) n;
UPDATE purchases SET state = 'accepted';
