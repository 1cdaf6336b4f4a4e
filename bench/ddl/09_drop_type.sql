-- DROP TYPE
DROP TYPE new:n_kind;
