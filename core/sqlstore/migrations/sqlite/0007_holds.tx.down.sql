UPDATE deliveries SET ready = TRUE, run_at = queued_at WHERE held_by IS NOT NULL;
DROP INDEX deliveries_held;
ALTER TABLE deliveries DROP COLUMN held_by;
DROP TABLE holds;
