-- SPDX-License-Identifier: Apache-2.0
-- A CA can be stopped, started again, retired and revoked, and a key that is known to be compromised is never certified again.

-- CAs. What holds is derived (libcommon/issuance/ca_state.c): from this, from the parents', from the key's state and from the time.
ALTER TABLE cas DROP CONSTRAINT cas_state_check;
ALTER TABLE cas ADD CONSTRAINT cas_state_check CHECK (state IN ('pending', 'active', 'suspended', 'retired', 'revoked'));
ALTER TABLE cas ADD COLUMN state_reason text NOT NULL DEFAULT '';   -- an officer's words, or the CRLReason's name
ALTER TABLE keys DROP CONSTRAINT keys_state_check;
ALTER TABLE keys ADD CONSTRAINT keys_state_check
  CHECK (state IN ('pre-active', 'active', 'stopped', 'suspended', 'compromised', 'retired', 'destroyed'));
-- A state is no secret: the issuer says why a CA issues nothing, and asks officers about the key as it is now.
GRANT SELECT (key_id, tenant_id, state, policy_version) ON keys TO chancery_issuer;
CREATE POLICY every_tenant_issuer ON keys FOR SELECT TO chancery_issuer USING (true);

-- CAs whose certificate was revoked or put on hold before there was a state for it.
UPDATE cas SET state = CASE found.status WHEN 'revoked' THEN 'revoked' ELSE 'suspended' END,
  state_reason = CASE found.revocation_reason WHEN 1 THEN 'keyCompromise' WHEN 2 THEN 'cACompromise' WHEN 3 THEN 'affiliationChanged'
    WHEN 4 THEN 'superseded' WHEN 5 THEN 'cessationOfOperation' WHEN 6 THEN 'certificateHold' WHEN 9 THEN 'privilegeWithdrawn'
    WHEN 10 THEN 'aACompromise' ELSE 'unspecified' END
  FROM certificates found
  WHERE found.profile = 'ca' AND found.status IN ('revoked', 'suspended') AND found.certificate_der = cas.certificate_der
    AND cas.state = 'active';

-- Keys that are never certified again, by SHA-256 of the SubjectPublicKeyInfo in OpenSSL's form (uncompressed points). tenant_id '':
-- for everybody, because a holder proved it, a certificate was revoked for it (whoever had it certified held the key), or the vault
-- says so of a key of its own. Else for that tenant alone: one of its officers said so, without a proof. Nobody's daemon may
-- change or delete a row, and what is read tells no tenant about another.
CREATE TABLE compromised_keys (
  public_key_sha256 bytea NOT NULL CHECK (octet_length(public_key_sha256) = 32),
  tenant_id         text NOT NULL DEFAULT '',
  source            text NOT NULL CHECK (source IN ('revocation', 'officer', 'holder', 'vault')),
  blocked_at        timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (public_key_sha256, tenant_id)
);
CREATE INDEX compromised_keys_newest ON compromised_keys (blocked_at);
GRANT SELECT, INSERT ON compromised_keys TO chancery_issuer, chancery_vault;
-- What was issued for a key that turns out to be compromised is found by it.
CREATE INDEX certificates_public_key ON certificates (public_key_sha256);

INSERT INTO compromised_keys (public_key_sha256, source, blocked_at)
  SELECT public_key_sha256, 'revocation', min(revoked_at) FROM certificates
  WHERE status = 'revoked' AND revocation_reason IN (1, 2) GROUP BY public_key_sha256
  ON CONFLICT DO NOTHING;
INSERT INTO compromised_keys (public_key_sha256, source, blocked_at)
  SELECT public_key_sha256, 'vault', coalesce(state_changed_at, created_at) FROM keys WHERE state = 'compromised'
  ON CONFLICT DO NOTHING;
