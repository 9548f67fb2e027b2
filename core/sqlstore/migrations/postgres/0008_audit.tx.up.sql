-- Who changed what: a chain of entries for each account, and one of the platform's,
-- whose account_id is empty. It refers to no account, because it outlives it. seq and
-- hash are the newest entry's; base_seq and base_hash those of the newest that
-- retention has removed.
CREATE TABLE audit_chains (
  account_id text COLLATE "C" PRIMARY KEY,
  seq        bigint NOT NULL,
  hash       bytea NOT NULL,
  head_at    bigint NOT NULL,
  base_seq   bigint NOT NULL,
  base_hash  bytea NOT NULL
);

CREATE TABLE audit_events (
  account_id  text COLLATE "C" NOT NULL,
  seq         bigint NOT NULL,
  id          text COLLATE "C" NOT NULL,
  recorded_at bigint NOT NULL,
  actor_kind  text COLLATE "C" NOT NULL,
  actor_id    text COLLATE "C" NOT NULL,
  name        text COLLATE "C" NOT NULL,
  object_type text COLLATE "C" NOT NULL,
  object_id   text COLLATE "C" NOT NULL,
  fields      text COLLATE "C" NOT NULL,
  network     text COLLATE "C" NOT NULL,
  request_id  text COLLATE "C" NOT NULL,
  previous    bytea NOT NULL,
  hash        bytea NOT NULL,
  PRIMARY KEY (account_id, seq)
);

CREATE UNIQUE INDEX audit_events_id ON audit_events (id);
CREATE INDEX audit_events_recorded ON audit_events (recorded_at);

-- What was written stays: entries go only from the old end, once the chain's base has
-- moved past them, and the base moves only to an entry that is there.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log cannot be changed' USING ERRCODE = '42501';
END
$$;

CREATE FUNCTION audit_events_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.seq > coalesce((SELECT base_seq FROM audit_chains WHERE account_id = OLD.account_id), 0) THEN
    RAISE EXCEPTION 'audit events go by retention only' USING ERRCODE = '42501';
  END IF;
  RETURN OLD;
END
$$;

CREATE FUNCTION audit_chains_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.account_id <> OLD.account_id OR NEW.seq < OLD.seq OR NEW.base_seq < OLD.base_seq OR NEW.base_seq > NEW.seq
    OR NEW.base_seq = OLD.base_seq AND NEW.base_hash <> OLD.base_hash
    OR NEW.base_seq > OLD.base_seq AND NOT EXISTS (
      SELECT 1 FROM audit_events e WHERE e.account_id = NEW.account_id AND e.seq = NEW.base_seq AND e.hash = NEW.base_hash) THEN
    RAISE EXCEPTION 'audit chains only grow' USING ERRCODE = '42501';
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER audit_events_update BEFORE UPDATE ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_events_delete BEFORE DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_delete();
CREATE TRIGGER audit_events_truncate BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chains_update BEFORE UPDATE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_chains_update();
CREATE TRIGGER audit_chains_delete BEFORE DELETE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chains_truncate BEFORE TRUNCATE ON audit_chains FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- Begun by an operator, it is an operator's to release.
ALTER TABLE holds ADD COLUMN firm boolean NOT NULL DEFAULT FALSE;
