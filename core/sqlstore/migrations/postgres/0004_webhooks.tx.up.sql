-- An account's own keys, each sealed under a key outside the database.
CREATE TABLE signing_keys (
  account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  kind       text NOT NULL,
  id         text COLLATE "C" NOT NULL,
  sealed     bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (account_id, kind)
);

-- subscriptions is a JSON array. Secrets are sealed; the former one signs until
-- former_until. failures counts the attempts that failed since the last success.
CREATE TABLE webhook_endpoints (
  account_id      text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id              text COLLATE "C" NOT NULL,
  url             text NOT NULL,
  subscriptions   text NOT NULL,
  algorithm       text NOT NULL,
  api_version     text NOT NULL,
  recipient       text NOT NULL,
  secret_sealed   bytea NOT NULL,
  former_sealed   bytea,
  former_until    bigint,
  failures        integer NOT NULL DEFAULT 0,
  failing_since   bigint,
  warned          integer NOT NULL DEFAULT 0,
  disabled_at     bigint,
  disabled_reason text NOT NULL DEFAULT '',
  created_at      bigint NOT NULL,
  updated_at      bigint NOT NULL,
  PRIMARY KEY (account_id, id)
);

-- Of a webhook: which event goes to which endpoint, and what the endpoint was when
-- the event was recorded. No foreign keys: a delivery outlives its endpoint, and an
-- event is removed with its deliveries.
ALTER TABLE deliveries ADD COLUMN event_id text COLLATE "C";
ALTER TABLE deliveries ADD COLUMN endpoint_id text COLLATE "C";
ALTER TABLE deliveries ADD COLUMN endpoint_url text;
ALTER TABLE deliveries ADD COLUMN api_version text;

CREATE INDEX deliveries_webhook ON deliveries (account_id, id) WHERE kind = 'webhook';
CREATE INDEX deliveries_event ON deliveries (account_id, event_id) WHERE event_id IS NOT NULL;

-- What the receiving side said: its status, and what a webhook's endpoint answered.
ALTER TABLE attempts ADD COLUMN code text NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN answer text NOT NULL DEFAULT '';

-- Events that no request led to are kept for as long as requests are.
CREATE INDEX events_unrequested ON events (created_at) WHERE request_id IS NULL;
