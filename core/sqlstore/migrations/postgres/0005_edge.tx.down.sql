DROP TABLE idempotent_calls;
DROP TABLE domains;
DROP INDEX accounts_deleted;
ALTER TABLE accounts DROP COLUMN deleted_at;
ALTER TABLE accounts DROP COLUMN metadata;
