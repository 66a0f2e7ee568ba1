-- SPDX-License-Identifier: Apache-2.0
-- The last number of each sender's own events (Event.sequence of proto/audit.proto), so that the audit daemon notices a gap
-- whichever of its instances receives the next one. Written in the transaction that appends.
CREATE TABLE audit_senders (
  service       text NOT NULL,
  instance      text NOT NULL,
  last_sequence bigint NOT NULL,
  seen_at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (service, instance)
);
GRANT SELECT, INSERT, UPDATE ON audit_senders TO chancery_audit;
