-- SPDX-License-Identifier: Apache-2.0
-- The key vault in full: sealed key policy and the states of NIST SP 800-57, officers' quorum and the actions that they approve,
-- quotas, data keys for small secrets. All of it is the vault's alone.

-- Keys. The seal covers every column but the numbers (number_seal) and wrapped_key, which an HSM authenticates by itself; an edited
-- row makes the key refuse. Keys of before this migration have no seal: `chancery-vault --seal-keys` seals them once. -----------
ALTER TABLE keys DROP CONSTRAINT keys_state_check;
ALTER TABLE keys ADD CONSTRAINT keys_state_check
  CHECK (state IN ('pre-active', 'active', 'suspended', 'compromised', 'retired', 'destroyed'));
ALTER TABLE keys
  ADD COLUMN policy_version       bigint NOT NULL DEFAULT 1,    -- grows with each change of what is sealed
  ADD COLUMN callers              text[] NOT NULL DEFAULT '{}', -- services that may ask; none: each purpose's own
  ADD COLUMN signature_algorithms text[] NOT NULL DEFAULT '{}', -- none: the one of the key's algorithm
  ADD COLUMN max_certificate_validity_seconds bigint NOT NULL DEFAULT 0, -- CA keys: of a certificate; 0: no limit of the key's own
  ADD COLUMN quota_burst          int NOT NULL DEFAULT 0,       -- signatures at once; 0: no quota
  ADD COLUMN quota_per_hour       int NOT NULL DEFAULT 0,
  ADD COLUMN approvals_required   int NOT NULL DEFAULT 0,       -- more than the quorum's; 0: the quorum's
  ADD COLUMN audit_mode           text NOT NULL DEFAULT '' CHECK (audit_mode IN ('', 'each', 'summary')),
  ADD COLUMN state_changed_at     timestamptz,
  ADD COLUMN number_seal          bytea;                        -- MAC of key_id, last_number and last_tbs_sha256

-- What is left of a key's quota, or of a caller's (key_id ''): shared by all vaults, which take from it in portions. -------------
CREATE TABLE quotas (
  key_id      text NOT NULL,
  caller      text NOT NULL,              -- "service" or "service/instance", or '' for the key's own
  purpose     int NOT NULL,               -- enum Purpose of proto/vault.proto; 0 for the key's own
  tokens      double precision NOT NULL,
  refilled_at timestamptz NOT NULL,
  PRIMARY KEY (key_id, caller, purpose)
);

-- Actions that officers approve. Their signatures are verified when they arrive and again when the action is used. ---------------
CREATE TABLE actions (
  action_id       text PRIMARY KEY,       -- 32 hex digits, as in the document
  tenant_id       text NOT NULL REFERENCES tenants,
  kind            int NOT NULL,           -- enum ActionKind of proto/vault.proto
  document        bytea NOT NULL,         -- what officers sign
  fields_sha256   bytea NOT NULL,         -- of kind and fields: an open action is found again by it
  proposed_by     text NOT NULL,
  created_at      timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL,
  used_at         timestamptz,
  used_by         bytea                   -- message id that used it: the same message may be repeated, no other
);
CREATE INDEX actions_open ON actions (tenant_id, fields_sha256) WHERE used_at IS NULL;
CREATE INDEX actions_listing ON actions (tenant_id, created_at);
CREATE TABLE action_approvals (
  action_id    text NOT NULL REFERENCES actions,
  officer      text NOT NULL,
  certificate  bytea NOT NULL,
  signature    bytea NOT NULL,
  approved_at  timestamptz NOT NULL,
  PRIMARY KEY (action_id, officer)
);

-- Which officers approve, and how many. One row a tenant; made by `chancery-vault --init-quorum`, changed by the old quorum. -------
CREATE TABLE quorums (
  tenant_id  text PRIMARY KEY REFERENCES tenants,
  version    bigint NOT NULL,
  quorum     bytea NOT NULL,              -- an encoded Quorum of proto/vault.proto
  seal       bytea NOT NULL,              -- MAC of tenant and quorum by an HSM key
  changed_at timestamptz NOT NULL DEFAULT now()
);

-- Data keys of a tenant, for small secrets: AES-256, wrapped by an HSM key. The newest seals, all of them open. -------------------
CREATE TABLE data_keys (
  tenant_id  text NOT NULL REFERENCES tenants,
  version    int NOT NULL CHECK (version > 0),
  wrapped    bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, version)
);

GRANT SELECT, INSERT, UPDATE ON quotas, actions, quorums, data_keys TO chancery_vault;
GRANT SELECT, INSERT ON action_approvals TO chancery_vault;
-- Quotas of destroyed keys.
GRANT DELETE ON quotas TO chancery_vault;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['actions', 'quorums', 'data_keys'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY every_tenant ON %I TO chancery_vault USING (true) WITH CHECK (true)', name);
  END LOOP;
END $$;
