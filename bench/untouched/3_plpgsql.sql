-- table with the PL/pgSQL trigger
UPDATE petition_submissions SET realm = 'north', updated_at = now() WHERE id = :id;
