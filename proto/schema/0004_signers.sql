-- SPDX-License-Identifier: Apache-2.0
-- Which of the suite's own signers (OCSP responders, TSAs) may sign, defined once for all who ask: the issuer, which replaces those
-- that may not, and the responders, which choose among those that may. And which CA's TSA is the default: stated, never derived.

-- A compromise outlasts the state: a compromised key is destroyed some day, and what it signed stays in doubt. -------------------
ALTER TABLE keys ADD COLUMN compromised_at timestamptz;
UPDATE keys SET compromised_at = coalesce(state_changed_at, now()) WHERE state = 'compromised';
CREATE FUNCTION note_key_compromise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.compromised_at := coalesce(OLD.compromised_at, now());
  RETURN NEW;
END $$;
CREATE TRIGGER note_compromise BEFORE UPDATE OF state ON keys FOR EACH ROW
  WHEN (NEW.state = 'compromised' AND OLD.state <> 'compromised') EXECUTE FUNCTION note_key_compromise();

-- The serial number of a DER certificate as the table certificates has it: the octets of the INTEGER (RFC 5280 §4.1).
-- NULL: no certificate.
CREATE FUNCTION certificate_serial(der bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  at int := 0;
  size int;
BEGIN
  FOR level IN 1..2 LOOP                              -- Certificate, TBSCertificate: SEQUENCE
    IF get_byte(der, at) <> 48 THEN
      RETURN NULL;
    END IF;
    size := get_byte(der, at + 1);
    at := at + 2 + greatest(size - 128, 0);           -- long form: so many octets of length follow
  END LOOP;
  IF get_byte(der, at) = 160 THEN                     -- version [0] EXPLICIT INTEGER
    at := at + 2 + get_byte(der, at + 1);
  END IF;
  size := get_byte(der, at + 1);
  IF get_byte(der, at) <> 2 OR size NOT BETWEEN 1 AND 20 OR octet_length(der) < at + 2 + size THEN
    RETURN NULL;
  END IF;
  RETURN substr(der, at + 3, size);
EXCEPTION WHEN array_subscript_error THEN             -- cut short
  RETURN NULL;
END $$;
-- The partition of certificates that a serial's first two octets name.
CREATE FUNCTION serial_period(serial bytea) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS $$ SELECT CASE WHEN octet_length(serial) > 2 THEN get_byte(serial, 0) * 256 + get_byte(serial, 1) END $$;

-- Why a CA may certify nothing now: of the CA itself, or else of the nearest above it that is at fault. NULL: it may.
CREATE FUNCTION ca_obstacle(id bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH RECURSIVE path AS (
    SELECT ca_id, parent_id, name, state, not_after, key_id, certificate_der, 0 AS depth FROM cas WHERE ca_id = id
    UNION ALL
    SELECT c.ca_id, c.parent_id, c.name, c.state, c.not_after, c.key_id, c.certificate_der, p.depth + 1
    FROM cas c JOIN path p ON c.ca_id = p.parent_id WHERE p.depth < 16),
  judged AS (
    SELECT p.depth,
           CASE WHEN p.state <> 'active' THEN format('CA ''%s'' is %s', p.name, p.state)
                WHEN p.not_after <= now() THEN format('CA ''%s'' has expired', p.name)
                WHEN k.compromised_at IS NOT NULL THEN format('the key of CA ''%s'' is compromised', p.name)
                WHEN k.state <> 'active' AND p.depth = 0 THEN format('the key of CA ''%s'' is %s', p.name, k.state)
                WHEN t.status <> 'issued' THEN format('the certificate of CA ''%s'' is %s', p.name, t.status)
           END AS obstacle
    FROM path p
    JOIN keys k ON k.key_id = p.key_id
    LEFT JOIN certificates t ON t.expiry_period = serial_period(certificate_serial(p.certificate_der))
      AND t.ca_id = coalesce(p.parent_id, p.ca_id) AND t.serial = certificate_serial(p.certificate_der))
  SELECT obstacle FROM judged WHERE obstacle IS NOT NULL ORDER BY depth LIMIT 1
$$;

-- Since when anybody may have signed with the CA's key: it is compromised, or the CA's certificate is revoked for that (keyCompromise,
-- cACompromise). NULL: it is not known to be.
CREATE FUNCTION ca_compromised_at(id bigint) RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
  SELECT least(k.compromised_at, CASE WHEN t.status = 'revoked' AND t.revocation_reason IN (1, 2) THEN t.revoked_at END)
  FROM cas c
  JOIN keys k ON k.key_id = c.key_id
  LEFT JOIN certificates t ON t.expiry_period = serial_period(certificate_serial(c.certificate_der))
    AND t.ca_id = coalesce(c.parent_id, c.ca_id) AND t.serial = certificate_serial(c.certificate_der)
  WHERE c.ca_id = id
$$;
REVOKE ALL ON FUNCTION ca_obstacle(bigint), ca_compromised_at(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ca_obstacle(bigint) TO chancery_issuer, chancery_ocsp, chancery_tsa;
GRANT EXECUTE ON FUNCTION ca_compromised_at(bigint) TO chancery_ocsp;

-- The TSA that answers who names no policy: the CA document says so, and at most one that is in use does. What was derived until now
-- (the newest) is stated from here on, as the one that served first.
ALTER TABLE cas ADD COLUMN timestamp_default boolean NOT NULL DEFAULT false;
UPDATE cas SET timestamp_default = true WHERE ca_id =
  (SELECT s.ca_id FROM service_certificates s JOIN cas c USING (ca_id) WHERE s.kind = 'tsa' AND c.state = 'active'
   ORDER BY s.created_at, s.ca_id LIMIT 1);
CREATE UNIQUE INDEX cas_timestamp_default ON cas (timestamp_default) WHERE timestamp_default AND state NOT IN ('retired', 'revoked');
GRANT SELECT (timestamp_default) ON cas TO chancery_tsa;

-- stopped_at: that this signer may sign no more has been told (signer.stopped). An issuer of before this migration may still add rows.
ALTER TABLE service_certificates
  ADD COLUMN serial     bytea GENERATED ALWAYS AS (certificate_serial(certificate_der)) STORED,
  ADD COLUMN stopped_at timestamptz;
GRANT UPDATE (stopped_at) ON service_certificates TO chancery_issuer;

-- obstacle: why this signer may not sign, beyond its certificate's validity; NULL: it may. An OCSP responder goes on under a CA that
-- issues no more, for the certificates that are out; a TSA does not. A view sees with its owner's eyes: all tenants, and of keys and
-- certificates no more than this.
CREATE VIEW service_signers AS
  SELECT s.tenant_id, s.kind, s.ca_id, c.name AS ca_name, c.timestamp_default, s.key_id, s.serial, s.certificate_der, s.not_before,
         s.not_after, s.created_at, s.stopped_at, k.timestamp_policies,
         CASE WHEN k.state <> 'active' THEN 'its key is ' || k.state
              WHEN t.status IS NULL THEN 'the CA has no record of its certificate'
              WHEN t.status <> 'issued' THEN 'its certificate is ' || t.status
              WHEN s.kind = 'tsa' THEN ca_obstacle(s.ca_id)
         END AS obstacle
  FROM service_certificates s
  JOIN keys k ON k.key_id = s.key_id
  JOIN cas c ON c.ca_id = s.ca_id
  LEFT JOIN certificates t ON t.expiry_period = serial_period(s.serial) AND t.ca_id = s.ca_id AND t.serial = s.serial;
GRANT SELECT ON service_signers TO chancery_issuer, chancery_ocsp, chancery_tsa;
