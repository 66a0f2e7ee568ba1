-- SPDX-License-Identifier: Apache-2.0
-- Nothing un-revokes. What a certificate's status is, relying parties are told from the append-only revocation_log, and the columns of
-- certificates that say the same move one way: a daemon's role that was taken over, the issuer's too, cannot turn "revoked" back.

-- Only forwards: pending -> issued | cancelled | revoked, issued <-> suspended, whatever may have been signed -> revoked.
CREATE FUNCTION refuse_status() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'certificate %: % does not become %', encode(OLD.serial, 'hex'), OLD.status, NEW.status USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER one_way BEFORE UPDATE ON certificates FOR EACH ROW
  WHEN (OLD.status <> NEW.status AND (OLD.status || ' ' || NEW.status) NOT IN
    ('pending issued', 'pending cancelled', 'pending revoked', 'issued suspended', 'suspended issued', 'issued revoked', 'suspended revoked',
     'cancelled revoked'))
  EXECUTE FUNCTION refuse_status();

-- What was signed or revoked stays what it was.
CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'certificate %: what was signed or revoked is not rewritten', encode(OLD.serial, 'hex') USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER as_signed BEFORE UPDATE ON certificates FOR EACH ROW
  WHEN ((OLD.expiry_period, OLD.ca_id, OLD.serial, OLD.public_key_sha256, OLD.not_before, OLD.not_after)
      IS DISTINCT FROM (NEW.expiry_period, NEW.ca_id, NEW.serial, NEW.public_key_sha256, NEW.not_before, NEW.not_after)
    OR (OLD.certificate_der IS NOT NULL AND OLD.certificate_der IS DISTINCT FROM NEW.certificate_der)
    OR (OLD.tbs_certificate IS NOT NULL AND NEW.tbs_certificate IS NOT NULL AND OLD.tbs_certificate <> NEW.tbs_certificate)
    OR (OLD.status = 'revoked' AND NEW.status = 'revoked' AND (NEW.revoked_at IS NULL OR NEW.revocation_reason IS NULL OR NEW.revoked_at > OLD.revoked_at)))
  EXECUTE FUNCTION refuse_rewriting();

-- The log: one entry for each number, in their order, and no other way to change it.
CREATE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '%: entries are only added', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON revocation_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change();
CREATE FUNCTION refuse_log_head() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'revocation_log_head: % is not the number after %', NEW.sequence, OLD.sequence USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER counts BEFORE UPDATE ON revocation_log_head FOR EACH ROW WHEN (NEW.sequence <> OLD.sequence + 1)
  EXECUTE FUNCTION refuse_log_head();

-- The newest entry of each certificate: what OCSP and CRLs say. Written by the log's trigger alone.
CREATE TABLE revocations (
  ca_id           bigint NOT NULL,
  serial          bytea NOT NULL,
  tenant_id       text NOT NULL,
  sequence        bigint NOT NULL,       -- of the log's entry
  action          text NOT NULL CHECK (action IN ('revoked', 'suspended', 'reinstated')),
  reason          int NOT NULL,
  revoked_at      timestamptz NOT NULL,
  invalidity_date timestamptz,
  logged_at       timestamptz NOT NULL,
  known           boolean NOT NULL,      -- false: no row of certificates has the serial (lost with a database, or signed outside of it)
  expiry_period   int NOT NULL,          -- of what is not known: 32767, so that it stays on CRLs
  not_after       timestamptz,           -- NULL: not known
  PRIMARY KEY (ca_id, serial)
);
CREATE INDEX revocations_of_crl ON revocations (ca_id, expiry_period, serial) WHERE action <> 'reinstated';
CREATE INDEX revocations_unknown ON revocations (ca_id, serial) WHERE NOT known;
GRANT SELECT ON revocations TO chancery_issuer, chancery_ocsp, chancery_crl;
ALTER TABLE revocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON revocations USING (tenant_id = current_tenant());
CREATE POLICY every_tenant ON revocations FOR SELECT TO chancery_ocsp, chancery_crl USING (true);

CREATE FUNCTION log_revocation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  known certificates;
BEGIN
  IF NEW.sequence IS DISTINCT FROM (SELECT sequence FROM revocation_log_head) THEN
    RAISE EXCEPTION 'revocation_log: % is not the head''s number', NEW.sequence USING ERRCODE = 'check_violation';
  END IF;
  -- A CRL's entry for removeFromCRL, or a date to come, would say "not revoked" to who reads it closely. Five minutes: clocks differ.
  IF (CASE NEW.action WHEN 'suspended' THEN NEW.reason <> 6 WHEN 'reinstated' THEN NEW.reason <> 8 ELSE NEW.reason NOT IN (0, 1, 2, 3, 4, 5, 9, 10) END) THEN
    RAISE EXCEPTION 'revocation_log: % is no reason for %', NEW.reason, NEW.action USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.revoked_at > now() + interval '5 minutes' THEN
    RAISE EXCEPTION 'revocation_log: % lies in the future', NEW.revoked_at USING ERRCODE = 'check_violation';
  END IF;
  SELECT * INTO known FROM certificates c
    WHERE c.expiry_period = serial_period(NEW.serial) AND c.ca_id = NEW.ca_id AND c.serial = NEW.serial;
  INSERT INTO revocations AS r (ca_id, serial, tenant_id, sequence, action, reason, revoked_at, invalidity_date, logged_at, known, expiry_period, not_after)
    VALUES (NEW.ca_id, NEW.serial, NEW.tenant_id, NEW.sequence, NEW.action, NEW.reason, NEW.revoked_at, NEW.invalidity_date, NEW.logged_at,
            known.serial IS NOT NULL, coalesce(known.expiry_period, 32767), known.not_after)
    ON CONFLICT (ca_id, serial) DO UPDATE SET sequence = excluded.sequence, action = excluded.action, reason = excluded.reason,
      revoked_at = excluded.revoked_at, invalidity_date = excluded.invalidity_date, logged_at = excluded.logged_at, known = excluded.known,
      expiry_period = excluded.expiry_period, not_after = excluded.not_after
    WHERE r.action <> 'revoked' OR (excluded.action = 'revoked' AND excluded.revoked_at <= r.revoked_at);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'certificate %: revoked does not become %', encode(NEW.serial, 'hex'), NEW.action USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION log_revocation() FROM PUBLIC;
CREATE TRIGGER newest AFTER INSERT ON revocation_log FOR EACH ROW EXECUTE FUNCTION log_revocation();

-- Of before: what the log says last of each certificate, and what certificates says where the log says nothing.
INSERT INTO revocations (ca_id, serial, tenant_id, sequence, action, reason, revoked_at, invalidity_date, logged_at, known, expiry_period, not_after)
  SELECT DISTINCT ON (l.ca_id, l.serial) l.ca_id, l.serial, l.tenant_id, l.sequence, l.action, l.reason, l.revoked_at, l.invalidity_date, l.logged_at,
    c.serial IS NOT NULL, coalesce(c.expiry_period, 32767), c.not_after
  FROM revocation_log l
  LEFT JOIN certificates c ON c.expiry_period = serial_period(l.serial) AND c.ca_id = l.ca_id AND c.serial = l.serial
  ORDER BY l.ca_id, l.serial, l.sequence DESC;
INSERT INTO revocations (ca_id, serial, tenant_id, sequence, action, reason, revoked_at, invalidity_date, logged_at, known, expiry_period, not_after)
  SELECT ca_id, serial, tenant_id, 0, status, coalesce(revocation_reason, 0), coalesce(revoked_at, now()), invalidity_date, coalesce(revoked_at, now()), true, expiry_period,
    not_after
  FROM certificates WHERE status IN ('revoked', 'suspended')
  ON CONFLICT (ca_id, serial) DO NOTHING;
