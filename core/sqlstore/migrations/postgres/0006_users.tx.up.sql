-- An account's tokens are listed by id.
CREATE INDEX api_tokens_account ON api_tokens (account_id, id);
