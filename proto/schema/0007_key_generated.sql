-- SPDX-License-Identifier: Apache-2.0
-- A key's row comes first, its event key.generated after it: rows whose event is still owed, because the vault ended in between, are told
-- of by the next vault that looks. A vault of before this migration records the event first and inserts with the default.
ALTER TABLE keys ADD COLUMN generated_told boolean NOT NULL DEFAULT true;
CREATE INDEX keys_generated_untold ON keys (created_at) WHERE NOT generated_told;
