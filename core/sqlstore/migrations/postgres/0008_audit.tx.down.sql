ALTER TABLE holds DROP COLUMN firm;
DROP TABLE audit_events;
DROP TABLE audit_chains;
DROP FUNCTION audit_refuse();
DROP FUNCTION audit_events_delete();
DROP FUNCTION audit_chains_update();
