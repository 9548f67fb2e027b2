ALTER TABLE requests DROP COLUMN disputed_at;
DROP INDEX users_admins;
DELETE FROM attempts WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM provider_events WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM deliveries WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM events WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM requests WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM suppressions WHERE account_id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
DELETE FROM accounts WHERE id = '00000000-0000-8ec3-8915-f542e0f8cb6c';
