-- Who changed what: a chain of entries for each account, and one of the platform's,
-- whose account_id is empty. It refers to no account, because it outlives it. seq and
-- hash are the newest entry's; base_seq and base_hash those of the newest that
-- retention has removed.
CREATE TABLE audit_chains (
  account_id TEXT PRIMARY KEY,
  seq        INTEGER NOT NULL,
  hash       BLOB NOT NULL,
  head_at    INTEGER NOT NULL,
  base_seq   INTEGER NOT NULL,
  base_hash  BLOB NOT NULL
) STRICT;

CREATE TABLE audit_events (
  account_id  TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  id          TEXT NOT NULL,
  recorded_at INTEGER NOT NULL,
  actor_kind  TEXT NOT NULL,
  actor_id    TEXT NOT NULL,
  name        TEXT NOT NULL,
  object_type TEXT NOT NULL,
  object_id   TEXT NOT NULL,
  fields      TEXT NOT NULL,
  network     TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  previous    BLOB NOT NULL,
  hash        BLOB NOT NULL,
  PRIMARY KEY (account_id, seq)
) STRICT;

CREATE UNIQUE INDEX audit_events_id ON audit_events (id);
CREATE INDEX audit_events_recorded ON audit_events (recorded_at);

-- What was written stays: entries go only from the old end, once the chain's base has
-- moved past them, and the base moves only to an entry that is there.
CREATE TRIGGER audit_events_update BEFORE UPDATE ON audit_events
BEGIN
  SELECT RAISE(ABORT, 'audit events cannot be changed');
END;

CREATE TRIGGER audit_events_delete BEFORE DELETE ON audit_events
WHEN OLD.seq > coalesce((SELECT base_seq FROM audit_chains WHERE account_id = OLD.account_id), 0)
BEGIN
  SELECT RAISE(ABORT, 'audit events go by retention only');
END;

CREATE TRIGGER audit_chains_update BEFORE UPDATE ON audit_chains
WHEN NEW.account_id <> OLD.account_id OR NEW.seq < OLD.seq OR NEW.base_seq < OLD.base_seq OR NEW.base_seq > NEW.seq
  OR NEW.base_seq = OLD.base_seq AND NEW.base_hash <> OLD.base_hash
  OR NEW.base_seq > OLD.base_seq AND NOT EXISTS (
    SELECT 1 FROM audit_events e WHERE e.account_id = NEW.account_id AND e.seq = NEW.base_seq AND e.hash = NEW.base_hash)
BEGIN
  SELECT RAISE(ABORT, 'audit chains only grow');
END;

CREATE TRIGGER audit_chains_delete BEFORE DELETE ON audit_chains
BEGIN
  SELECT RAISE(ABORT, 'audit chains cannot be removed');
END;

-- Begun by an operator, it is an operator's to release.
ALTER TABLE holds ADD COLUMN firm INTEGER NOT NULL DEFAULT FALSE;
