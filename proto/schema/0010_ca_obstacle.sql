-- SPDX-License-Identifier: Apache-2.0
-- Whether a CA may certify is decided in two places, which agree: here, for the responders and for those who replace their certificates, and in
-- libcommon/issuance/ca_state.c, for the issuers. tests/unit/ca_agreement_test.c holds them against each other.
--   own:    its state, its validity (RFC 5280 §4.1.2.5: notAfter is inclusive), its key (active, never compromised), its certificate
--   above:  the same, but of its key only that it never was compromised and is not stopped: a root's key may well be suspended between its
--           uses, and be retired or destroyed after them
GRANT SELECT (compromised_at) ON keys TO chancery_issuer;

CREATE OR REPLACE FUNCTION ca_obstacle(id bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH RECURSIVE path AS (
    SELECT ca_id, parent_id, name, state, not_after, key_id, certificate_der, 0 AS depth FROM cas WHERE ca_id = id
    UNION ALL
    SELECT c.ca_id, c.parent_id, c.name, c.state, c.not_after, c.key_id, c.certificate_der, p.depth + 1
    FROM cas c JOIN path p ON c.ca_id = p.parent_id WHERE p.depth < 16),
  judged AS (
    SELECT p.depth,
           CASE WHEN p.state <> 'active' THEN format('CA ''%s'' is %s', p.name, p.state)
                WHEN p.not_after < now() THEN format('CA ''%s'' has expired', p.name)
                WHEN k.compromised_at IS NOT NULL OR k.state = 'compromised' THEN format('the key of CA ''%s'' is compromised', p.name)
                WHEN k.state = 'stopped' OR (k.state <> 'active' AND p.depth = 0) THEN format('the key of CA ''%s'' is %s', p.name, k.state)
                WHEN t.status <> 'issued' THEN format('the certificate of CA ''%s'' is %s', p.name, t.status)
                WHEN p.depth = 16 AND p.parent_id IS NOT NULL THEN 'more than 16 CAs are above it'
           END AS obstacle
    FROM path p
    JOIN keys k ON k.key_id = p.key_id
    LEFT JOIN certificates t ON t.expiry_period = serial_period(certificate_serial(p.certificate_der))
      AND t.ca_id = coalesce(p.parent_id, p.ca_id) AND t.serial = certificate_serial(p.certificate_der))
  SELECT obstacle FROM judged WHERE obstacle IS NOT NULL ORDER BY depth LIMIT 1
$$;
