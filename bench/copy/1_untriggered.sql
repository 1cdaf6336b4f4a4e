-- untriggered table
COPY petition_submissions (id, text, state) FROM :'file';
