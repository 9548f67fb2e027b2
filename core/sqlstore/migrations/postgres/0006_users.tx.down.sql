DROP INDEX api_tokens_account;
