-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Applied by `chancery db migrate` as the database's owner, in one transaction.
-- A role per daemon, granted only what it uses; every row of a tenant carries tenant_id under row-level security,
-- enforced by the setting `chancery.tenant` that each transaction starts with. No setting: no rows.

-- Roles are shared by a PostgreSQL cluster and may exist already. Log-in is by peer (Unix socket) or client certificate.
-- Two databases of one cluster may be migrated at the same moment: who comes second finds the role made.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['chancery_gateway', 'chancery_issuer', 'chancery_ocsp', 'chancery_tsa', 'chancery_crl',
                              'chancery_audit', 'chancery_vault', 'chancery_auditor'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', name);
      END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
  END LOOP;
END $$;

CREATE FUNCTION current_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  AS $$ SELECT nullif(current_setting('chancery.tenant', true), '') $$;

CREATE TABLE tenants (
  tenant_id  text PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenants (tenant_id, name) VALUES ('default', 'Default tenant');

-- Keys: owned by the vault, which alone reads policy from here and writes it. -----------------------------------------
CREATE TABLE keys (
  key_id               text PRIMARY KEY,              -- 32 hex digits; CKA_ID in the HSMs is its octets
  tenant_id            text NOT NULL REFERENCES tenants,
  request_id           bytea UNIQUE,                  -- message id that asked for it
  label                text NOT NULL,
  algorithm            text NOT NULL,
  purposes             int[] NOT NULL,                -- enum Purpose of proto/vault.proto
  subject_der          bytea,                         -- CA keys: the name that its certificates and CRLs carry as issuer
  public_key_info      bytea NOT NULL,
  public_key_sha256    bytea NOT NULL UNIQUE,
  residency            text[] NOT NULL,               -- names of the HSMs that hold it
  single_copy_accepted boolean NOT NULL DEFAULT false,
  state                text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'retired')),
  ca_not_before        timestamptz,                   -- the limits of the CA certificate that the vault signed for this key
  ca_not_after         timestamptz,
  ca_path_length       int,                           -- NULL: no limit
  timestamp_policies   text[] NOT NULL DEFAULT '{}',
  checkpoint_origin    text,
  max_validity_seconds bigint NOT NULL DEFAULT 0,
  last_number          numeric NOT NULL DEFAULT 0,    -- highest CRL number or checkpoint tree size signed: never goes back
  last_tbs_sha256      bytea,                         -- what last_number was signed over: the same bytes may be signed again
  wrapped_key          bytea,                         -- the private key under the HSMs' key-encryption key: what a new HSM is filled from
  created_at           timestamptz NOT NULL DEFAULT now(),
  seal                 bytea,                         -- MAC of the policy columns by an HSM key
  UNIQUE (key_id, tenant_id)
);
CREATE INDEX keys_tenant ON keys (tenant_id);

-- CAs and profiles: written by the issuer. ------------------------------------------------------------------------------
CREATE TABLE cas (
  ca_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id        text NOT NULL REFERENCES tenants,
  name             text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  parent_id        bigint,
  state            text NOT NULL CHECK (state IN ('pending', 'active', 'retired')),
  document         text NOT NULL,                    -- the CA document as given
  document_sha256  bytea NOT NULL,
  subject_der      bytea NOT NULL,
  subject          text NOT NULL,                    -- RFC 4514
  key_id           text NOT NULL,
  key_algorithm    text NOT NULL,
  public_key_info  bytea NOT NULL,
  key_identifier   bytea NOT NULL,                   -- SHA-1 of the public key bits (RFC 5280 §4.2.1.2 (1))
  tbs_certificate  bytea NOT NULL,
  certificate_der  bytea,
  not_before       timestamptz NOT NULL,
  not_after        timestamptz NOT NULL,
  serial_tag_key   bytea NOT NULL,                   -- 32 octets: the keyed tag of serials that this CA issues
  ocsp_url         text NOT NULL DEFAULT '',
  crl_url          text NOT NULL DEFAULT '',
  ca_issuers_url   text NOT NULL DEFAULT '',
  crl_interval_s   bigint NOT NULL DEFAULT 3600,     -- a new CRL at least this often
  crl_validity_s   bigint NOT NULL DEFAULT 86400,    -- nextUpdate - thisUpdate
  created_at       timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, name),
  UNIQUE (ca_id, tenant_id),
  -- Composite, here and below: a row can only point at what is its own tenant's.
  FOREIGN KEY (parent_id, tenant_id) REFERENCES cas (ca_id, tenant_id),
  FOREIGN KEY (key_id, tenant_id) REFERENCES keys (key_id, tenant_id)
);
CREATE UNIQUE INDEX cas_name_outside ON cas (name);   -- /crl/{name}.crl and /ca/{name}.cer name no tenant

CREATE TABLE profiles (
  tenant_id   text NOT NULL REFERENCES tenants,
  name        text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  version     int NOT NULL,
  kind        text NOT NULL,
  document    text NOT NULL,
  applied_by  text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name, version)
);

-- Certificates: partitioned by expiry month, which the serial's first two octets repeat: (year - 1970) * 12 + month - 1. --
CREATE TABLE certificates (
  expiry_period     int NOT NULL,
  ca_id             bigint NOT NULL,
  serial            bytea NOT NULL CHECK (octet_length(serial) BETWEEN 1 AND 20),
  tenant_id         text NOT NULL,
  status            text NOT NULL CHECK (status IN ('pending', 'issued', 'suspended', 'revoked', 'cancelled')),
  profile           text NOT NULL,
  profile_version   int NOT NULL,
  subject           text NOT NULL,
  subject_alt_names jsonb NOT NULL DEFAULT '[]',     -- [{"type":"dns","value":"…"}]
  san_text          text NOT NULL DEFAULT '',        -- values joined by newlines, for searching
  public_key_sha256 bytea NOT NULL,
  not_before        timestamptz NOT NULL,
  not_after         timestamptz NOT NULL,
  tbs_certificate   bytea,                           -- while pending; NULL once certificate_der holds it
  certificate_der   bytea,
  requested_by      text NOT NULL,
  reserved_by       text NOT NULL,                   -- issuer instance that reserved it
  reserved_at       timestamptz NOT NULL DEFAULT now(),
  issued_at         timestamptz,
  cancelled_reason  text,
  revoked_at        timestamptz,
  revocation_reason int,                             -- CRLReason (RFC 5280 §5.3.1)
  invalidity_date   timestamptz,
  created_at        timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (expiry_period, ca_id, serial),
  FOREIGN KEY (ca_id, tenant_id) REFERENCES cas (ca_id, tenant_id)
) PARTITION BY RANGE (expiry_period);
CREATE INDEX certificates_listing ON certificates (tenant_id, created_at, serial);
CREATE INDEX certificates_expiring ON certificates (tenant_id, not_after);
CREATE INDEX certificates_revoked ON certificates (ca_id, revoked_at) WHERE status IN ('revoked', 'suspended');
CREATE INDEX certificates_pending ON certificates (reserved_at) WHERE status = 'pending';

-- Makes the partitions for expiry periods first..last that do not exist yet, and says how many; safe to run from two places at
-- once. Made beside the table and then attached, which locks out no reader and no writer as CREATE … PARTITION OF would. Row-level
-- security is the parent's as long as one reads through it; on a partition itself nobody has any right.
CREATE FUNCTION ensure_certificate_partitions(first int, last int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  period int;
  partition text;
  made int := 0;
BEGIN
  IF first IS NULL OR last IS NULL OR first < 0 OR last < first OR last > 32767 OR last - first > 1200 THEN
    RAISE EXCEPTION 'expiry periods % to % are out of range', first, last USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Nothing to do is the usual case: no lock then.
  IF NOT EXISTS (SELECT FROM generate_series(first, last) AS wanted (number)
                 WHERE to_regclass(format('public.certificates_p%s', wanted.number)) IS NULL) THEN
    RETURN 0;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('chancery.certificate_partitions'));
  FOR period IN first..last LOOP
    partition := format('certificates_p%s', period);
    -- pg_class and not to_regclass, whose cache still says what was so before the lock.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace AND relname = partition) THEN
      EXECUTE format('CREATE TABLE public.%I (LIKE public.certificates INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition);
      EXECUTE format('ALTER TABLE public.certificates ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)',
                     partition, period, period + 1);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION ensure_certificate_partitions(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_certificate_partitions(int, int) TO chancery_issuer;

-- What an idempotency key made. Written in the transaction that reserves the serial.
CREATE TABLE issue_requests (
  tenant_id       text NOT NULL REFERENCES tenants,
  client          text NOT NULL,
  idempotency_key text NOT NULL,
  request_sha256  bytea NOT NULL,
  expiry_period   int NOT NULL,
  ca_id           bigint NOT NULL,
  serial          bytea NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, client, idempotency_key)
);

-- Append-only and ordered by commit: the row lock on revocation_log_head is held until the transaction ends, so whoever has
-- read up to sequence n has seen every change up to n.
CREATE TABLE revocation_log_head (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  sequence bigint NOT NULL
);
INSERT INTO revocation_log_head (sequence) VALUES (0);
CREATE TABLE revocation_log (
  sequence        bigint PRIMARY KEY,
  tenant_id       text NOT NULL,
  ca_id           bigint NOT NULL,
  serial          bytea NOT NULL,
  action          text NOT NULL CHECK (action IN ('revoked', 'suspended', 'reinstated')),
  reason          int NOT NULL,
  revoked_at      timestamptz NOT NULL,
  invalidity_date timestamptz,
  logged_at       timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (ca_id, tenant_id) REFERENCES cas (ca_id, tenant_id)
);

-- Certificates that the suite issues to its own signers; the issuer makes and renews them. -----------------------------
CREATE TABLE service_certificates (
  tenant_id       text NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('ocsp', 'tsa')),
  ca_id           bigint NOT NULL,
  key_id          text NOT NULL,
  certificate_der bytea NOT NULL,
  not_before      timestamptz NOT NULL,
  not_after       timestamptz NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, ca_id, key_id, not_before),
  FOREIGN KEY (ca_id, tenant_id) REFERENCES cas (ca_id, tenant_id),
  FOREIGN KEY (key_id, tenant_id) REFERENCES keys (key_id, tenant_id)
);

-- CRLs. The primary key is what makes a number twice impossible; the lease only saves work. -----------------------------
-- A number is reserved (and committed) before anything is signed under it. Who takes an expired lease abandons what its last
-- holder left reserved: such a number is never used again, signed or not, since RFC 5280 §5.2.3 asks for growing numbers, not for
-- numbers without gaps.
CREATE TABLE crls (
  ca_id        bigint NOT NULL,
  crl_number   bigint NOT NULL CHECK (crl_number > 0),
  tenant_id    text NOT NULL,
  state        text NOT NULL CHECK (state IN ('reserved', 'published', 'abandoned')),
  scheduled    boolean NOT NULL DEFAULT true,   -- false: on demand. An entry of an expired certificate drops out after a scheduled one
  this_update  timestamptz NOT NULL,
  next_update  timestamptz NOT NULL,
  log_sequence bigint NOT NULL,          -- revocation_log up to here is in it
  entries      bigint NOT NULL DEFAULT 0,
  der          bytea,                  -- NULL again once a few newer ones are published
  made_by      text NOT NULL,
  request_id   bytea,                  -- on demand: the message id that asked, so that a repeated message makes no second CRL
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (ca_id, crl_number),
  FOREIGN KEY (ca_id, tenant_id) REFERENCES cas (ca_id, tenant_id),
  CHECK (next_update > this_update)
);
CREATE UNIQUE INDEX crls_request ON crls (request_id) WHERE request_id IS NOT NULL AND state = 'published';
CREATE TABLE crl_leases (
  ca_id      bigint PRIMARY KEY REFERENCES cas,
  holder     text NOT NULL,
  expires_at timestamptz NOT NULL
);

-- Audit: outbox rows are written in the transaction of the action; the log is the collector's alone. ----------------------
CREATE TABLE audit_outbox (
  outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  service      text NOT NULL,
  signed_event bytea NOT NULL,           -- an encoded SignedEvent
  created_at   timestamptz NOT NULL DEFAULT now()
);
-- hash = SHA-256("chancery/log/v1\0" || previous hash || log_sequence as 8 octets big endian || signed_event);
-- the first row's previous hash is 32 zero octets.
CREATE TABLE audit_log (
  log_sequence  bigint PRIMARY KEY,      -- 1, 2, 3, … without gaps
  previous_hash bytea NOT NULL,
  hash          bytea NOT NULL,
  signed_event  bytea NOT NULL,
  event_id      bytea NOT NULL UNIQUE,
  tenant_id     text NOT NULL,           -- "" where the event belongs to none
  event_time    timestamptz NOT NULL,
  type          text NOT NULL,
  outcome       text NOT NULL,
  service       text NOT NULL,
  instance      text NOT NULL,
  actor         text NOT NULL,
  subject       text NOT NULL,
  received_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_type ON audit_log (type, log_sequence);
CREATE INDEX audit_log_subject ON audit_log (subject, log_sequence);
CREATE TABLE audit_checkpoints (
  log_size   bigint PRIMARY KEY,
  text       text NOT NULL,              -- "<origin>\n<log size>\n<base64 of the log's last hash>\n"
  key_id     text NOT NULL,
  signature  bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Grants --------------------------------------------------------------------------------------------------------------
-- Foreign keys are checked as the tables' owner, so nobody needs a right on what a row refers to.
GRANT SELECT ON tenants TO chancery_gateway, chancery_issuer, chancery_ocsp, chancery_tsa, chancery_crl, chancery_audit,
  chancery_vault;
GRANT SELECT, INSERT, UPDATE ON keys TO chancery_vault;
GRANT SELECT, INSERT, UPDATE ON cas, certificates TO chancery_issuer;
GRANT SELECT, INSERT ON profiles, issue_requests, service_certificates TO chancery_issuer;
GRANT SELECT, INSERT ON revocation_log TO chancery_issuer;
GRANT SELECT, UPDATE ON revocation_log_head TO chancery_issuer;
-- UPDATE of one column is what a row lock (FOR UPDATE SKIP LOCKED) asks for.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at) ON audit_outbox TO chancery_issuer, chancery_crl;
-- Who answers for status sees status and no more: neither names nor the certificate nor who asked for it.
GRANT SELECT (expiry_period, ca_id, serial, tenant_id, status, not_before, not_after, issued_at, revoked_at, revocation_reason,
              invalidity_date) ON certificates TO chancery_ocsp, chancery_crl;
GRANT SELECT ON revocation_log, revocation_log_head TO chancery_ocsp, chancery_crl;
-- The serial tag key is for those who make serials (issuer) and those who check them (ocsp).
GRANT SELECT ON cas TO chancery_ocsp;
GRANT SELECT (ca_id, tenant_id, name, parent_id, state, subject_der, subject, key_id, key_algorithm, public_key_info,
              key_identifier, certificate_der, not_before, not_after, ocsp_url, crl_url, ca_issuers_url, crl_interval_s,
              crl_validity_s, created_at) ON cas TO chancery_tsa, chancery_crl;
GRANT SELECT ON service_certificates TO chancery_ocsp, chancery_tsa;
-- The policies that a timestamp key may name: the vault enforces them, the tsa answers unacceptedPolicy by them.
GRANT SELECT (key_id, tenant_id, timestamp_policies) ON keys TO chancery_tsa;
GRANT SELECT, INSERT, UPDATE ON crls, crl_leases TO chancery_crl;
GRANT SELECT, INSERT ON audit_log, audit_checkpoints TO chancery_audit;
GRANT SELECT ON audit_log, audit_checkpoints TO chancery_auditor;

-- Row-level security -----------------------------------------------------------------------------------------------------
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['keys', 'cas', 'profiles', 'certificates', 'issue_requests', 'revocation_log',
                              'service_certificates', 'crls'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())',
                   name);
  END LOOP;
END $$;
-- Status services find the tenant by the CA that a relying party names, and follow every tenant's revocations; the vault
-- finds a key's tenant by the key; the issuer's own upkeep (recovery, renewal) goes over all tenants' CAs.
CREATE POLICY every_tenant ON cas FOR SELECT TO chancery_ocsp, chancery_tsa, chancery_crl, chancery_issuer USING (true);
CREATE POLICY every_tenant ON revocation_log FOR SELECT TO chancery_ocsp, chancery_crl USING (true);
CREATE POLICY every_tenant ON service_certificates FOR SELECT TO chancery_ocsp, chancery_tsa, chancery_issuer USING (true);
CREATE POLICY every_tenant ON crls FOR SELECT TO chancery_crl USING (true);
CREATE POLICY every_tenant ON keys TO chancery_vault USING (true) WITH CHECK (true);
CREATE POLICY every_tenant_tsa ON keys FOR SELECT TO chancery_tsa USING (true);
-- An outbox row belongs to the service that wrote it.
ALTER TABLE audit_outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_outbox USING ('chancery_' || service = current_user) WITH CHECK ('chancery_' || service = current_user);
