-- SPDX-License-Identifier: Apache-2.0
-- How many certificates each CA has issued, kept as they are: counting them again for each listing reads every partition, so that who may
-- list CAs could keep the database busy. A count is spread over 16 rows, so that issuers do not wait for each other's. What was issued stays
-- counted when its partition is detached.
CREATE TABLE certificate_counts (
  ca_id     bigint NOT NULL,
  tenant_id text NOT NULL,
  part      int NOT NULL,
  issued    bigint NOT NULL,
  PRIMARY KEY (ca_id, part),
  FOREIGN KEY (ca_id, tenant_id) REFERENCES cas (ca_id, tenant_id)
);
ALTER TABLE certificate_counts ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON certificate_counts USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT ON certificate_counts TO chancery_issuer;

-- One of the three is what a certificate is once it may have been given to somebody.
CREATE FUNCTION is_issued(status text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT status IN ('issued', 'suspended', 'revoked')
$$;

CREATE FUNCTION count_inserted_certificates() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO certificate_counts (ca_id, tenant_id, part, issued)
  SELECT ca_id, tenant_id, pg_backend_pid() % 16, count(*) FROM fresh WHERE is_issued(status) GROUP BY ca_id, tenant_id ORDER BY ca_id
  ON CONFLICT (ca_id, part) DO UPDATE SET issued = certificate_counts.issued + excluded.issued;
  RETURN NULL;
END $$;

CREATE FUNCTION count_updated_certificates() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO certificate_counts (ca_id, tenant_id, part, issued)
  SELECT ca_id, fresh.tenant_id, pg_backend_pid() % 16, count(*) FROM fresh JOIN stale USING (expiry_period, ca_id, serial)
  WHERE is_issued(fresh.status) AND NOT is_issued(stale.status) GROUP BY ca_id, fresh.tenant_id ORDER BY ca_id
  ON CONFLICT (ca_id, part) DO UPDATE SET issued = certificate_counts.issued + excluded.issued;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION is_issued(text), count_inserted_certificates(), count_updated_certificates() FROM PUBLIC;

CREATE TRIGGER count_inserted AFTER INSERT ON certificates REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_certificates();
CREATE TRIGGER count_updated AFTER UPDATE ON certificates REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
  FOR EACH STATEMENT EXECUTE FUNCTION count_updated_certificates();

-- The triggers' locks keep writers out until this is committed: none is missed and none counted twice.
INSERT INTO certificate_counts (ca_id, tenant_id, part, issued)
SELECT ca_id, tenant_id, 0, count(*) FROM certificates WHERE is_issued(status) GROUP BY ca_id, tenant_id;
