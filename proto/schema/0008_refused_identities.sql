-- SPDX-License-Identifier: Apache-2.0
-- The lists of refused identities of services: for each system CA one CRL (RFC 5280), signed by it. What is written here is believed for
-- that signature alone, and daemons know the highest number that they have seen: an older or altered row changes nothing
-- (docs/decisions/0019-refused-identities.md).
CREATE TABLE refused_identities (
  issuer_key_sha256 text PRIMARY KEY,     -- of the CA's SubjectPublicKeyInfo, hex
  crl_number        numeric NOT NULL,
  crl               bytea NOT NULL,       -- DER
  updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE ON refused_identities TO chancery_vault;
