CREATE TABLE accounts (
  id               TEXT    NOT NULL PRIMARY KEY,
  slug             TEXT    NOT NULL,
  name             TEXT    NOT NULL,
  protected        INTEGER NOT NULL,
  status           TEXT    NOT NULL,
  api_version      TEXT    NOT NULL,
  deliver_default  INTEGER NOT NULL,
  deliver_policy   TEXT    NOT NULL,
  link_life        INTEGER NOT NULL,
  link_template    TEXT    NOT NULL,
  password_minimum INTEGER NOT NULL,
  providers        TEXT    NOT NULL,
  product_name     TEXT    NOT NULL,
  accent           TEXT    NOT NULL,
  support_address  TEXT    NOT NULL,
  from_name        TEXT    NOT NULL,
  from_address     TEXT    NOT NULL,
  logo_hash        TEXT    NOT NULL,
  created_at       INTEGER NOT NULL,
  updated_at       INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX accounts_slug ON accounts (slug);

-- Apart from accounts, so that reading an account never reads its logo.
CREATE TABLE logos (
  account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
  png        BLOB NOT NULL
) STRICT;

CREATE TABLE users (
  account_id         TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id                 TEXT    NOT NULL,
  address            TEXT    NOT NULL,
  first_name         TEXT    NOT NULL,
  last_name          TEXT    NOT NULL,
  role               TEXT    NOT NULL,
  banned             INTEGER NOT NULL,
  password_hash      BLOB,
  credential_version INTEGER NOT NULL,
  metadata           TEXT    NOT NULL,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT;

CREATE UNIQUE INDEX users_address ON users (account_id, address);

-- No account and no user: an operator's.
CREATE TABLE api_tokens (
  id         TEXT    NOT NULL PRIMARY KEY,
  account_id TEXT,
  user_id    TEXT,
  digest     BLOB    NOT NULL,
  name       TEXT    NOT NULL,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  CHECK ((account_id IS NULL) = (user_id IS NULL)),
  FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id) ON DELETE CASCADE
) STRICT;

CREATE UNIQUE INDEX api_tokens_digest ON api_tokens (digest);
CREATE INDEX api_tokens_user ON api_tokens (account_id, user_id);

-- No account: the platform's.
CREATE TABLE providers (
  id             TEXT NOT NULL PRIMARY KEY,
  account_id     TEXT REFERENCES accounts (id) ON DELETE CASCADE,
  name           TEXT NOT NULL,
  plugin         TEXT NOT NULL,
  settings       TEXT NOT NULL,
  secrets_sealed BLOB
) STRICT;

CREATE UNIQUE INDEX providers_name ON providers (coalesce(account_id, ''), name);

-- user_id is no foreign key: a request outlives its user.
CREATE TABLE requests (
  account_id         TEXT    NOT NULL REFERENCES accounts (id),
  id                 TEXT    NOT NULL,
  state              TEXT    NOT NULL,
  reason             TEXT    NOT NULL DEFAULT '',
  address_sealed     BLOB,
  address_digest     BLOB    NOT NULL,
  deliver            INTEGER NOT NULL,
  traceparent        TEXT    NOT NULL,
  user_id            TEXT,
  link_request_id    TEXT,
  selector           BLOB,
  seed               BLOB,
  key_id             INTEGER,
  credential_version INTEGER,
  accepted_at        INTEGER NOT NULL,
  resolved_at        INTEGER,
  expires_at         INTEGER,
  spent_at           INTEGER,
  PRIMARY KEY (account_id, id)
) STRICT;

CREATE INDEX requests_digest ON requests (account_id, address_digest);
CREATE UNIQUE INDEX requests_selector ON requests (account_id, selector) WHERE seed IS NOT NULL;
CREATE INDEX requests_links ON requests (account_id, user_id, resolved_at) WHERE seed IS NOT NULL;
CREATE INDEX requests_seeds ON requests (expires_at) WHERE seed IS NOT NULL;

-- ready: queued, unleased and due. See the drawing in the package's doc.
CREATE TABLE deliveries (
  account_id  TEXT    NOT NULL,
  id          TEXT    NOT NULL,
  request_id  TEXT,
  user_id     TEXT,
  kind        TEXT    NOT NULL,
  state       TEXT    NOT NULL,
  reason      TEXT    NOT NULL DEFAULT '',
  provider    TEXT    NOT NULL DEFAULT '',
  message_id  TEXT    NOT NULL DEFAULT '',
  attempt     INTEGER NOT NULL DEFAULT 0,
  lost        INTEGER NOT NULL DEFAULT 0,
  ready       INTEGER NOT NULL,
  run_at      INTEGER NOT NULL,
  not_after   INTEGER,
  lease       TEXT,
  lease_until INTEGER,
  queued_at   INTEGER NOT NULL,
  ended_at    INTEGER,
  PRIMARY KEY (account_id, id),
  FOREIGN KEY (account_id, request_id) REFERENCES requests (account_id, id)
) STRICT;

CREATE INDEX deliveries_ready ON deliveries (account_id, run_at, id) WHERE ready = TRUE;
CREATE INDEX deliveries_later ON deliveries (run_at) WHERE state = 'queued' AND ready = FALSE AND lease IS NULL;
CREATE UNIQUE INDEX deliveries_lease ON deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_lapse ON deliveries (lease_until) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_request ON deliveries (account_id, request_id);

CREATE TABLE attempts (
  account_id  TEXT    NOT NULL,
  id          TEXT    NOT NULL,
  delivery_id TEXT    NOT NULL,
  number      INTEGER NOT NULL,
  provider    TEXT    NOT NULL,
  outcome     TEXT    NOT NULL,
  detail      TEXT    NOT NULL,
  duration    INTEGER NOT NULL,
  ended_at    INTEGER NOT NULL,
  PRIMARY KEY (account_id, id),
  FOREIGN KEY (account_id, delivery_id) REFERENCES deliveries (account_id, id)
) STRICT;

CREATE INDEX attempts_delivery ON attempts (account_id, delivery_id);

CREATE TABLE events (
  account_id TEXT    NOT NULL REFERENCES accounts (id),
  id         TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  user_id    TEXT,
  request_id TEXT,
  facts      TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT;
