-- petition_cas: govern
SELECT govern('petition_submissions', petition_lifecycle());
