-- SPDX-License-Identifier: Apache-2.0
-- Copyright the pabal authors
-- Names and addresses are stored folded (directory.h), so plain comparison finds them.
-- removed_us is 0 for what lives, else the time of removal: a removed domain keeps its rows
-- until directory.restore_time is over, and its name can be used again meanwhile.
-- MariaDB commits after each CREATE: half a migration is finished by doing it again.

CREATE TABLE IF NOT EXISTS domains (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	name VARCHAR(255) NOT NULL,
	description VARCHAR(1000) NOT NULL,
	enabled INTEGER NOT NULL,
	created_unix BIGINT NOT NULL,
	removed_us BIGINT NOT NULL DEFAULT 0,
	UNIQUE (name, removed_us)
);

CREATE TABLE IF NOT EXISTS accounts (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
	address VARCHAR(320) NOT NULL,
	password VARCHAR(1024) NOT NULL,
	scram_sha1 VARCHAR(1024) NOT NULL,
	scram_sha256 VARCHAR(1024) NOT NULL,
	enabled INTEGER NOT NULL,
	quota_bytes BIGINT NOT NULL,
	quota_messages BIGINT NOT NULL,
	role INTEGER NOT NULL,
	language VARCHAR(16) NOT NULL,
	display_name VARCHAR(255) NOT NULL,
	protocols INTEGER NOT NULL,
	intranet_only INTEGER NOT NULL,
	created_unix BIGINT NOT NULL,
	password_changed_unix BIGINT NOT NULL,
	removed_us BIGINT NOT NULL DEFAULT 0,
	UNIQUE (address, removed_us)
);
CREATE INDEX IF NOT EXISTS accounts_domain ON accounts (domain_id, address);
CREATE INDEX IF NOT EXISTS accounts_role ON accounts (role, id);

CREATE TABLE IF NOT EXISTS aliases (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
	source VARCHAR(320) NOT NULL,
	destination VARCHAR(320) NOT NULL,
	removed_us BIGINT NOT NULL DEFAULT 0,
	UNIQUE (source, destination, removed_us)
);
CREATE INDEX IF NOT EXISTS aliases_domain ON aliases (domain_id, source);
