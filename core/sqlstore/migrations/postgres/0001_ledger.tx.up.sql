-- Ids, names and addresses are compared byte by byte, whatever the database's
-- locale: every text column that is looked up or sorted by says COLLATE "C".
--
-- Of a table that others refer to, no whole index but the primary key begins with
-- account_id. The plan of a foreign key's check is made once a connection; made
-- while the table is empty it takes any index that fits, and one that fits by
-- account alone reads the account's every row, for each row that is inserted.
CREATE TABLE accounts (
  id               text COLLATE "C" NOT NULL PRIMARY KEY,
  slug             text COLLATE "C" NOT NULL,
  name             text    NOT NULL,
  protected        boolean NOT NULL,
  status           text    NOT NULL,
  api_version      text    NOT NULL,
  deliver_default  boolean NOT NULL,
  deliver_policy   text    NOT NULL,
  link_life        bigint  NOT NULL,
  link_template    text    NOT NULL,
  password_minimum integer NOT NULL,
  providers        text    NOT NULL,
  product_name     text    NOT NULL,
  accent           text    NOT NULL,
  support_address  text    NOT NULL,
  from_name        text    NOT NULL,
  from_address     text    NOT NULL,
  logo_hash        text    NOT NULL,
  created_at       bigint  NOT NULL,
  updated_at       bigint  NOT NULL
);

CREATE UNIQUE INDEX accounts_slug ON accounts (slug);

-- Apart from accounts, so that reading an account never reads its logo.
CREATE TABLE logos (
  account_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
  png        bytea NOT NULL
);

CREATE TABLE users (
  account_id         text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id                 text COLLATE "C" NOT NULL,
  address            text COLLATE "C" NOT NULL,
  first_name         text    NOT NULL,
  last_name          text    NOT NULL,
  role               text    NOT NULL,
  banned             boolean NOT NULL,
  password_hash      bytea,
  credential_version bigint  NOT NULL,
  metadata           text    NOT NULL,
  created_at         bigint  NOT NULL,
  updated_at         bigint  NOT NULL,
  PRIMARY KEY (account_id, id)
);

CREATE UNIQUE INDEX users_address ON users (address, account_id);

-- No account and no user: an operator's.
CREATE TABLE api_tokens (
  id         text COLLATE "C" NOT NULL PRIMARY KEY,
  account_id text COLLATE "C",
  user_id    text COLLATE "C",
  digest     bytea  NOT NULL,
  name       text   NOT NULL,
  expires_at bigint,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  CHECK ((account_id IS NULL) = (user_id IS NULL)),
  FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX api_tokens_digest ON api_tokens (digest);
CREATE INDEX api_tokens_user ON api_tokens (account_id, user_id);

-- No account: the platform's.
CREATE TABLE providers (
  id             text COLLATE "C" NOT NULL PRIMARY KEY,
  account_id     text COLLATE "C" REFERENCES accounts (id) ON DELETE CASCADE,
  name           text COLLATE "C" NOT NULL,
  plugin         text NOT NULL,
  settings       text NOT NULL,
  secrets_sealed bytea
);

CREATE UNIQUE INDEX providers_name ON providers (coalesce(account_id, ''), name);

-- user_id is no foreign key: a request outlives its user. Rows change a few times
-- within minutes: room is left on each page, and vacuum comes early.
CREATE TABLE requests (
  account_id         text COLLATE "C" NOT NULL REFERENCES accounts (id),
  id                 text COLLATE "C" NOT NULL,
  state              text    NOT NULL,
  reason             text    NOT NULL DEFAULT '',
  address_sealed     bytea,
  address_digest     bytea   NOT NULL,
  deliver            boolean NOT NULL,
  traceparent        text    NOT NULL,
  user_id            text COLLATE "C",
  link_request_id    text COLLATE "C",
  selector           bytea,
  seed               bytea,
  key_id             bigint,
  credential_version bigint,
  accepted_at        bigint  NOT NULL,
  resolved_at        bigint,
  expires_at         bigint,
  spent_at           bigint,
  PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX requests_digest ON requests (address_digest, account_id);
CREATE UNIQUE INDEX requests_selector ON requests (account_id, selector) WHERE seed IS NOT NULL;
CREATE INDEX requests_links ON requests (account_id, user_id, resolved_at) WHERE seed IS NOT NULL;
CREATE INDEX requests_seeds ON requests (expires_at) WHERE seed IS NOT NULL;

-- ready: queued, unleased and due. See the drawing in the package's doc. The
-- entries of what has left an index are in a claim's way until vacuum comes.
CREATE TABLE deliveries (
  account_id  text COLLATE "C" NOT NULL,
  id          text COLLATE "C" NOT NULL,
  request_id  text COLLATE "C",
  user_id     text COLLATE "C",
  kind        text    NOT NULL,
  state       text    NOT NULL,
  reason      text    NOT NULL DEFAULT '',
  provider    text    NOT NULL DEFAULT '',
  message_id  text    NOT NULL DEFAULT '',
  attempt     integer NOT NULL DEFAULT 0,
  lost        integer NOT NULL DEFAULT 0,
  ready       boolean NOT NULL,
  run_at      bigint  NOT NULL,
  not_after   bigint,
  lease       text COLLATE "C",
  lease_until bigint,
  queued_at   bigint  NOT NULL,
  ended_at    bigint,
  PRIMARY KEY (account_id, id),
  FOREIGN KEY (account_id, request_id) REFERENCES requests (account_id, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX deliveries_ready ON deliveries (account_id, run_at, id) WHERE ready = TRUE;
CREATE INDEX deliveries_later ON deliveries (run_at) WHERE state = 'queued' AND ready = FALSE AND lease IS NULL;
CREATE UNIQUE INDEX deliveries_lease ON deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_lapse ON deliveries (lease_until) WHERE lease IS NOT NULL;
CREATE INDEX deliveries_request ON deliveries (request_id, account_id);

CREATE TABLE attempts (
  account_id  text COLLATE "C" NOT NULL,
  id          text COLLATE "C" NOT NULL,
  delivery_id text COLLATE "C" NOT NULL,
  number      integer NOT NULL,
  provider    text    NOT NULL,
  outcome     text    NOT NULL,
  detail      text    NOT NULL,
  duration    bigint  NOT NULL,
  ended_at    bigint  NOT NULL,
  PRIMARY KEY (account_id, id),
  FOREIGN KEY (account_id, delivery_id) REFERENCES deliveries (account_id, id)
);

CREATE INDEX attempts_delivery ON attempts (account_id, delivery_id);

CREATE TABLE events (
  account_id text COLLATE "C" NOT NULL REFERENCES accounts (id),
  id         text COLLATE "C" NOT NULL,
  name       text   NOT NULL,
  user_id    text COLLATE "C",
  request_id text COLLATE "C",
  facts      text   NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (account_id, id)
);
