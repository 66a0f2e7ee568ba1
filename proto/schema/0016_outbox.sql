-- SPDX-License-Identifier: Apache-2.0
-- Audit events that wait for the audit daemon cannot be taken away unseen (docs/decisions/0035-outbox-numbers.md): they are numbered in the order of
-- their commits, without gaps; a row goes only when the log or the quarantine has its event; and what has gone is counted, so that whoever gets
-- past the triggers leaves a number that nothing accounts for.
ALTER TABLE audit_outbox ADD COLUMN number bigint;  -- of the service, from 1; given at the commit
CREATE TABLE audit_outbox_numbers (
  service text PRIMARY KEY,
  last    bigint NOT NULL
);
CREATE TABLE audit_outbox_taken (
  service text PRIMARY KEY,
  events  bigint NOT NULL                -- rows that have gone into the log or the quarantine
);
WITH numbered AS (SELECT outbox_id, row_number() OVER (PARTITION BY service ORDER BY outbox_id) AS number FROM audit_outbox)
  UPDATE audit_outbox o SET number = n.number FROM numbered n WHERE n.outbox_id = o.outbox_id;
INSERT INTO audit_outbox_numbers (service, last) SELECT service, count(*) FROM audit_outbox GROUP BY service;

-- Deferred: the row of the service's last number is locked while the transaction commits, and not while its daemon still works on it.
CREATE FUNCTION number_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  next bigint;
BEGIN
  INSERT INTO audit_outbox_numbers AS n (service, last) VALUES (NEW.service, 1)
    ON CONFLICT (service) DO UPDATE SET last = n.last + 1 RETURNING last INTO next;
  UPDATE audit_outbox SET number = next WHERE outbox_id = NEW.outbox_id;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION number_outbox() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER numbers AFTER INSERT ON audit_outbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION number_outbox();

-- Of an encoded SignedEvent (proto/audit.proto): event = 1, and of that event_id = 1, 16 octets. NULL: it is none.
CREATE FUNCTION signed_event_id(signed_event bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE SET search_path = public, pg_temp AS $$
DECLARE
  at int := 1;                           -- of the length's last octet
BEGIN
  IF length(signed_event) < 24 OR get_byte(signed_event, 0) <> 10 THEN
    RETURN NULL;
  END IF;
  WHILE get_byte(signed_event, at) >= 128 AND at < 5 LOOP
    at := at + 1;
  END LOOP;
  IF substr(signed_event, at + 2, 2) <> '\x0a10' THEN
    RETURN NULL;
  END IF;
  RETURN substr(signed_event, at + 4, 16);
END $$;

-- Octets that are no event are in quarantine up to the size of the largest event (CH_EVENT_CAP).
CREATE FUNCTION keep_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM audit_log l WHERE l.event_id = signed_event_id(OLD.signed_event) AND l.signed_event = OLD.signed_event)
     AND NOT EXISTS (SELECT FROM audit_quarantine q
                     WHERE q.service = OLD.service AND q.octets_sha256 = sha256(substr(OLD.signed_event, 1, 65536))) THEN
    RAISE EXCEPTION 'audit_outbox: event % of % is neither in the log nor in quarantine', OLD.number, OLD.service USING ERRCODE = 'check_violation';
  END IF;
  RETURN OLD;
END $$;
REVOKE ALL ON FUNCTION keep_outbox() FROM PUBLIC;
CREATE TRIGGER keep BEFORE DELETE ON audit_outbox FOR EACH ROW EXECUTE FUNCTION keep_outbox();

CREATE FUNCTION count_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO audit_outbox_taken AS t (service, events) SELECT service, count(*) FROM gone GROUP BY service
    ON CONFLICT (service) DO UPDATE SET events = t.events + excluded.events;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION count_outbox() FROM PUBLIC;
CREATE TRIGGER count AFTER DELETE ON audit_outbox REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_outbox();

-- What has a number and neither waits nor has gone by the rules; below 0: rows without a number that was given. One snapshot.
CREATE FUNCTION audit_outbox_missing() RETURNS TABLE (service text, missing bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.service, coalesce(n.last, 0) - coalesce(t.events, 0) - coalesce(w.events, 0)
  FROM (SELECT service FROM audit_outbox_numbers UNION SELECT service FROM audit_outbox_taken UNION SELECT DISTINCT service FROM audit_outbox) s
  LEFT JOIN audit_outbox_numbers n USING (service)
  LEFT JOIN audit_outbox_taken t USING (service)
  LEFT JOIN (SELECT service, count(*) AS events FROM audit_outbox GROUP BY service) w USING (service)
$$;
REVOKE ALL ON FUNCTION audit_outbox_missing() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_outbox_missing() TO chancery_audit, chancery_auditor;

-- What a service writes is its event; which number it has and when it came is not its to say.
REVOKE INSERT, UPDATE (created_at) ON audit_outbox FROM chancery_issuer, chancery_crl;
GRANT INSERT (service, signed_event) ON audit_outbox TO chancery_issuer, chancery_crl;

-- One instance of a service sends its rows.
CREATE TABLE outbox_leases (
  service    text PRIMARY KEY,
  holder     text NOT NULL,              -- "<instance>/<random>"
  expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON outbox_leases TO chancery_issuer, chancery_crl;
ALTER TABLE outbox_leases ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON outbox_leases USING ('chancery_' || service = current_user) WITH CHECK ('chancery_' || service = current_user);
DELETE FROM issuer_leases WHERE name = 'outbox';
