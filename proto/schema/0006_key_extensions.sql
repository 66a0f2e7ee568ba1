-- SPDX-License-Identifier: Apache-2.0
-- What officers may allow a key beyond the vault's own rules (KeyPolicy of proto/vault.proto): sealed with the rest of its row. A
-- default is left out of what is sealed, so the seals of older rows stay valid.
ALTER TABLE keys
  ADD COLUMN extra_extensions      text[] NOT NULL DEFAULT '{}',     -- OIDs that what it signs may carry beyond the vault's table
  ADD COLUMN signatures_unverified boolean NOT NULL DEFAULT false;   -- its signatures leave without being verified
