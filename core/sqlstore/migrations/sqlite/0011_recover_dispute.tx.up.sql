-- What stands for the service in the ledger where somebody asks which accounts are
-- theirs (tenants.RecoverID). No look-up finds it, and no account can have its slug.
INSERT INTO accounts (id, slug, name, protected, status, api_version, deliver_default, deliver_policy, link_life, link_template,
  password_minimum, providers, product_name, accent, support_address, from_name, from_address, logo_hash, created_at, updated_at)
VALUES ('00000000-0000-8ec3-8915-f542e0f8cb6c', '-recover', 'Passmend', 1, 'active', '1.8', 1, 'always', 3600000000, '', 8, '[]', '', '#1f4fd8', '', '', '', '', 0, 0);

-- Whoever is an admin of many accounts finds them all by one address.
CREATE INDEX users_admins ON users (address) WHERE role <> 'user';

-- When whoever had the link said that they did not ask for it.
ALTER TABLE requests ADD COLUMN disputed_at INTEGER;
