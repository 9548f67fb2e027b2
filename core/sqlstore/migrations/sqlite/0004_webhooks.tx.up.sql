-- An account's own keys, each sealed under a key outside the database.
CREATE TABLE signing_keys (
  account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  kind       TEXT NOT NULL,
  id         TEXT NOT NULL,
  sealed     BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, kind)
) STRICT;

-- subscriptions is a JSON array. Secrets are sealed; the former one signs until
-- former_until. failures counts the attempts that failed since the last success.
CREATE TABLE webhook_endpoints (
  account_id      TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id              TEXT NOT NULL,
  url             TEXT NOT NULL,
  subscriptions   TEXT NOT NULL,
  algorithm       TEXT NOT NULL,
  api_version     TEXT NOT NULL,
  recipient       TEXT NOT NULL,
  secret_sealed   BLOB NOT NULL,
  former_sealed   BLOB,
  former_until    INTEGER,
  failures        INTEGER NOT NULL DEFAULT 0,
  failing_since   INTEGER,
  warned          INTEGER NOT NULL DEFAULT 0,
  disabled_at     INTEGER,
  disabled_reason TEXT NOT NULL DEFAULT '',
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT;

-- Of a webhook: which event goes to which endpoint, and what the endpoint was when
-- the event was recorded. No foreign keys: a delivery outlives its endpoint, and an
-- event is removed with its deliveries.
ALTER TABLE deliveries ADD COLUMN event_id TEXT;
ALTER TABLE deliveries ADD COLUMN endpoint_id TEXT;
ALTER TABLE deliveries ADD COLUMN endpoint_url TEXT;
ALTER TABLE deliveries ADD COLUMN api_version TEXT;

CREATE INDEX deliveries_webhook ON deliveries (account_id, id) WHERE kind = 'webhook';
CREATE INDEX deliveries_event ON deliveries (account_id, event_id) WHERE event_id IS NOT NULL;

-- What the receiving side said: its status, and what a webhook's endpoint answered.
ALTER TABLE attempts ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN answer TEXT NOT NULL DEFAULT '';

-- Events that no request led to are kept for as long as requests are.
CREATE INDEX events_unrequested ON events (created_at) WHERE request_id IS NULL;
