-- What is kept back: no account and no provider, everything; an account, what is its
-- own; a provider, what goes to it. Released, it drains: pace is the time between two
-- deliveries, 0 for as fast as they can, and tat when the next is due (GCRA).
CREATE TABLE holds (
  account_id  TEXT REFERENCES accounts (id) ON DELETE CASCADE,
  provider_id TEXT REFERENCES providers (id) ON DELETE CASCADE,
  since_at    INTEGER NOT NULL,
  released_at INTEGER,
  pace        INTEGER NOT NULL DEFAULT 0,
  tat         INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX holds_scope ON holds (coalesce(account_id, ''), coalesce(provider_id, ''));
CREATE INDEX holds_provider ON holds (provider_id);

-- Of a delivery that waits for a provider to be released.
ALTER TABLE deliveries ADD COLUMN held_by TEXT;

CREATE INDEX deliveries_held ON deliveries (held_by, queued_at, id) WHERE held_by IS NOT NULL;
