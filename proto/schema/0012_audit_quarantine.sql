-- SPDX-License-Identifier: Apache-2.0
-- Events that are not genuine and never will be are kept apart as they came, so that one of them stops nobody's trail
-- (docs/decisions/0031-quarantined-events.md). The audit daemon adds rows and changes none; an owner of the database who has looked at them
-- may delete them, which frees the room that their sender has.
CREATE TABLE audit_quarantine (
  quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  received_by   text NOT NULL,           -- instance of the audit service
  service       text NOT NULL,           -- whose instance brought it: the event may claim another
  instance      text NOT NULL,
  code          text NOT NULL,           -- of the refusal: "unauthenticated", "denied", …
  reason        text NOT NULL,
  octets        bytea NOT NULL,          -- as they came
  octets_sha256 bytea NOT NULL,
  UNIQUE (service, octets_sha256)        -- however often it is sent
);
-- What each sender has there, and had in the hour that began then: a flood fills its own room alone.
CREATE TABLE audit_quarantine_senders (
  service      text NOT NULL,
  instance     text NOT NULL,
  events       bigint NOT NULL DEFAULT 0,
  octets       bigint NOT NULL DEFAULT 0,
  hour_began   timestamptz NOT NULL DEFAULT clock_timestamp(),
  hour_events  bigint NOT NULL DEFAULT 0,
  hour_octets  bigint NOT NULL DEFAULT 0,
  hour_refused bigint NOT NULL DEFAULT 0, -- times that something was not taken for want of room
  PRIMARY KEY (service, instance)
);
CREATE FUNCTION audit_quarantine_freed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE audit_quarantine_senders SET events = events - 1, octets = octets - length(OLD.octets)
    WHERE service = OLD.service AND instance = OLD.instance;
  RETURN NULL;
END $$;
CREATE TRIGGER freed AFTER DELETE ON audit_quarantine FOR EACH ROW EXECUTE FUNCTION audit_quarantine_freed();
GRANT SELECT, INSERT ON audit_quarantine TO chancery_audit;
GRANT SELECT, INSERT, UPDATE ON audit_quarantine_senders TO chancery_audit;
GRANT SELECT ON audit_quarantine TO chancery_auditor;

-- An event's id is its sender's choice: that another sender used it first is no reason to lose the event.
CREATE UNIQUE INDEX audit_log_event ON audit_log (event_id, service, instance);
ALTER TABLE audit_log DROP CONSTRAINT audit_log_event_id_key;
