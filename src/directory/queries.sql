-- SPDX-License-Identifier: Apache-2.0
-- Copyright the pabal authors
-- Every statement of the directory, under the name of its row in queries.def. The comment gives
-- the parameters in order, and the columns where the statement itself does not show them.

-- name: changes_get
SELECT value FROM meta WHERE name = 'changes';
-- name: changes_raise
UPDATE meta SET value = value + 1 WHERE name = 'changes';
-- name: schema_get
SELECT value FROM meta WHERE name = 'schema';
-- name: schema_set
-- number
REPLACE INTO meta (name, value) VALUES ('schema', ?);

-- name: domain_add
-- name, description, enabled, created_unix
INSERT INTO domains (name, description, enabled, created_unix) VALUES (?, ?, ?, ?);
-- name: domain_by_name
-- name; index: UNIQUE (name, removed_us)
SELECT id, enabled FROM domains WHERE name = ? AND removed_us = 0;
-- name: domain_show
-- name
SELECT d.id, d.name, d.description, d.enabled, d.created_unix,
	(SELECT count(*) FROM accounts a WHERE a.domain_id = d.id AND a.removed_us = 0),
	(SELECT count(DISTINCT source) FROM aliases s WHERE s.domain_id = d.id AND s.removed_us = 0),
	d.removed_us
FROM domains d WHERE d.name = ? AND d.removed_us = 0;
-- name: domain_list
-- columns as domain_show
SELECT d.id, d.name, d.description, d.enabled, d.created_unix,
	(SELECT count(*) FROM accounts a WHERE a.domain_id = d.id AND a.removed_us = 0),
	(SELECT count(DISTINCT source) FROM aliases s WHERE s.domain_id = d.id AND s.removed_us = 0),
	d.removed_us
FROM domains d WHERE d.removed_us = 0 ORDER BY d.name;
-- name: domain_list_removed
-- columns as domain_show
SELECT d.id, d.name, d.description, d.enabled, d.created_unix,
	(SELECT count(*) FROM accounts a WHERE a.domain_id = d.id AND a.removed_us = d.removed_us),
	(SELECT count(DISTINCT source) FROM aliases s WHERE s.domain_id = d.id AND s.removed_us = d.removed_us),
	d.removed_us
FROM domains d WHERE d.removed_us <> 0 ORDER BY d.removed_us DESC;
-- name: domain_set_description
-- description, id
UPDATE domains SET description = ? WHERE id = ?;
-- name: domain_set_enabled
-- enabled, id
UPDATE domains SET enabled = ? WHERE id = ?;
-- name: domain_removed_by_name
-- name
SELECT id, removed_us FROM domains WHERE name = ? AND removed_us <> 0 ORDER BY removed_us DESC LIMIT 1;
-- name: domain_mark
-- new removed_us, id
UPDATE domains SET removed_us = ? WHERE id = ?;
-- name: domain_mark_accounts
-- new removed_us, id, old removed_us
UPDATE accounts SET removed_us = ? WHERE domain_id = ? AND removed_us = ?;
-- name: domain_mark_aliases
-- new removed_us, id, old removed_us
UPDATE aliases SET removed_us = ? WHERE domain_id = ? AND removed_us = ?;
-- name: purge_domains
-- removed before, in us; its accounts and aliases cascade
DELETE FROM domains WHERE removed_us <> 0 AND removed_us < ?;
-- name: purge_accounts
DELETE FROM accounts WHERE removed_us <> 0 AND removed_us < ?;

-- name: account_add
-- domain_id, address, password, scram_sha1, scram_sha256, enabled, quota_bytes, quota_messages, role,
-- language, display_name, protocols, intranet_only, created_unix, password_changed_unix
INSERT INTO accounts (domain_id, address, password, scram_sha1, scram_sha256, enabled, quota_bytes,
	quota_messages, role, language, display_name, protocols, intranet_only, created_unix,
	password_changed_unix)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: account_by_address
-- address; index: UNIQUE (address, removed_us)
SELECT a.id, a.address, a.password, a.scram_sha1, a.scram_sha256, a.enabled, d.enabled, a.quota_bytes,
	a.quota_messages, a.role, a.language, a.display_name, a.protocols, a.intranet_only, a.created_unix,
	a.password_changed_unix
FROM accounts a JOIN domains d ON d.id = a.domain_id WHERE a.address = ? AND a.removed_us = 0;
-- name: account_by_id
-- id; columns as account_by_address
SELECT a.id, a.address, a.password, a.scram_sha1, a.scram_sha256, a.enabled, d.enabled, a.quota_bytes,
	a.quota_messages, a.role, a.language, a.display_name, a.protocols, a.intranet_only, a.created_unix,
	a.password_changed_unix
FROM accounts a JOIN domains d ON d.id = a.domain_id WHERE a.id = ? AND a.removed_us = 0;
-- name: account_list
-- columns as account_by_address
SELECT a.id, a.address, a.password, a.scram_sha1, a.scram_sha256, a.enabled, d.enabled, a.quota_bytes,
	a.quota_messages, a.role, a.language, a.display_name, a.protocols, a.intranet_only, a.created_unix,
	a.password_changed_unix
FROM accounts a JOIN domains d ON d.id = a.domain_id WHERE a.removed_us = 0 ORDER BY d.name, a.address;
-- name: account_list_domain
-- domain name; columns as account_by_address
SELECT a.id, a.address, a.password, a.scram_sha1, a.scram_sha256, a.enabled, d.enabled, a.quota_bytes,
	a.quota_messages, a.role, a.language, a.display_name, a.protocols, a.intranet_only, a.created_unix,
	a.password_changed_unix
FROM accounts a JOIN domains d ON d.id = a.domain_id
WHERE d.name = ? AND d.removed_us = 0 AND a.removed_us = 0 ORDER BY a.address;
-- name: account_set_password
-- password, scram_sha1, scram_sha256, password_changed_unix, id
UPDATE accounts SET password = ?, scram_sha1 = ?, scram_sha256 = ?, password_changed_unix = ? WHERE id = ?;
-- name: account_rehash
-- password, scram_sha1, scram_sha256, id, former password: nothing if it was changed meanwhile
UPDATE accounts SET password = ?, scram_sha1 = ?, scram_sha256 = ? WHERE id = ? AND password = ?;
-- name: account_set_enabled
UPDATE accounts SET enabled = ? WHERE id = ?;
-- name: account_set_quota_bytes
UPDATE accounts SET quota_bytes = ? WHERE id = ?;
-- name: account_set_quota_messages
UPDATE accounts SET quota_messages = ? WHERE id = ?;
-- name: account_set_role
UPDATE accounts SET role = ? WHERE id = ?;
-- name: account_set_language
UPDATE accounts SET language = ? WHERE id = ?;
-- name: account_set_display_name
UPDATE accounts SET display_name = ? WHERE id = ?;
-- name: account_set_protocols
UPDATE accounts SET protocols = ? WHERE id = ?;
-- name: account_set_intranet_only
UPDATE accounts SET intranet_only = ? WHERE id = ?;
-- name: account_mark
-- new removed_us, id
UPDATE accounts SET removed_us = ? WHERE id = ?;
-- name: account_removed_by_address
-- address; only where the domain lives
SELECT a.id FROM accounts a JOIN domains d ON d.id = a.domain_id
WHERE a.address = ? AND a.removed_us <> 0 AND d.removed_us = 0 ORDER BY a.removed_us DESC LIMIT 1;
-- name: account_first_admin
SELECT a.address FROM accounts a JOIN domains d ON d.id = a.domain_id
WHERE a.role = 1 AND a.removed_us = 0 AND a.enabled = 1 AND d.enabled = 1 ORDER BY a.id LIMIT 1;
-- name: account_first_of_domain
-- domain name
SELECT a.address FROM accounts a JOIN domains d ON d.id = a.domain_id
WHERE d.name = ? AND d.removed_us = 0 AND a.removed_us = 0 AND a.enabled = 1 AND d.enabled = 1
ORDER BY a.id LIMIT 1;
-- name: account_first
SELECT a.address FROM accounts a JOIN domains d ON d.id = a.domain_id
WHERE a.removed_us = 0 AND a.enabled = 1 AND d.enabled = 1 ORDER BY a.id LIMIT 1;

-- name: alias_add
-- domain_id, source, destination
INSERT INTO aliases (domain_id, source, destination) VALUES (?, ?, ?);
-- name: alias_by_source
-- source; index: UNIQUE (source, destination, removed_us)
SELECT destination FROM aliases WHERE source = ? AND removed_us = 0 ORDER BY id;
-- name: alias_list
SELECT source, destination FROM aliases WHERE removed_us = 0 ORDER BY domain_id, source, id;
-- name: alias_list_domain
-- domain name
SELECT s.source, s.destination FROM aliases s JOIN domains d ON d.id = s.domain_id
WHERE d.name = ? AND d.removed_us = 0 AND s.removed_us = 0 ORDER BY s.source, s.id;
-- name: alias_remove
-- source
DELETE FROM aliases WHERE source = ? AND removed_us = 0;
-- name: alias_remove_destination
-- source, destination
DELETE FROM aliases WHERE source = ? AND destination = ? AND removed_us = 0;
