-- table with a PL/pgSQL trigger
COPY petition_submissions (id, text, state) FROM :'file';
