ALTER TABLE holds DROP COLUMN firm;
DROP TABLE audit_events;
DROP TABLE audit_chains;
