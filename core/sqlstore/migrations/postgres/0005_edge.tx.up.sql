ALTER TABLE accounts ADD COLUMN metadata text NOT NULL DEFAULT '{}';

-- Of an account that is gone for everybody but Retain, which removes its rows.
ALTER TABLE accounts ADD COLUMN deleted_at bigint;

CREATE INDEX accounts_deleted ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;

-- A host belongs to one account, verified or not.
CREATE TABLE domains (
  host       text COLLATE "C" NOT NULL PRIMARY KEY,
  account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  verified   boolean NOT NULL,
  created_at bigint  NOT NULL
);

CREATE INDEX domains_account ON domains (account_id, created_at, host);

-- What a call with an Idempotency-Key came to. key and call are keyed digests: no
-- row says who called or what was asked. account_id is no foreign key and may be
-- empty: a row lives for a day. No answer: the call is under way.
CREATE TABLE idempotent_calls (
  account_id text COLLATE "C" NOT NULL,
  key        bytea  NOT NULL CHECK (length(key) = 32),
  call       bytea  NOT NULL CHECK (length(call) = 32),
  answer     bytea,
  began_at   bigint NOT NULL,
  PRIMARY KEY (account_id, key)
);

CREATE INDEX idempotent_calls_began ON idempotent_calls (began_at);
