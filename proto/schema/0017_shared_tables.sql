-- SPDX-License-Identifier: Apache-2.0
-- What several services use, none of them can hold up for the others (docs/decisions/0037-shared-tables.md). UPDATE or DELETE of a whole table is
-- also the right to lock it against everybody, reading too; UPDATE of columns, even of all of them, is not. A column that comes later needs a
-- grant of its own, here as everywhere.
DO $$
DECLARE
  shared record;
  columns text;
BEGIN
  FOR shared IN SELECT * FROM (VALUES ('cas', 'chancery_issuer'), ('certificates', 'chancery_issuer'), ('revocation_log_head', 'chancery_issuer'),
                                      ('outbox_leases', 'chancery_issuer'), ('outbox_leases', 'chancery_crl'), ('keys', 'chancery_vault'))
                AS names (name, role) LOOP
    SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
      WHERE attrelid = format('public.%I', shared.name)::regclass AND attnum > 0 AND NOT attisdropped;
    EXECUTE format('REVOKE UPDATE ON public.%I FROM %I', shared.name, shared.role);
    EXECUTE format('GRANT UPDATE (%s) ON public.%I TO %I', columns, shared.name, shared.role);
  END LOOP;
END $$;

-- Events that have been delivered leave the outbox by this; the triggers on DELETE look at each (0016_outbox.sql). Who asks is whom the server
-- has let in, not whose rights the function has.
CREATE FUNCTION take_outbox(taken_service text, ids bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF 'chancery_' || taken_service IS DISTINCT FROM session_user THEN
    RAISE EXCEPTION 'audit_outbox: events of % are not those of %', taken_service, session_user USING ERRCODE = 'insufficient_privilege';
  END IF;
  DELETE FROM audit_outbox WHERE service = taken_service AND outbox_id = ANY (ids);
END $$;
REVOKE ALL ON FUNCTION take_outbox(text, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_outbox(text, bigint[]) TO chancery_issuer, chancery_crl;
REVOKE DELETE ON audit_outbox FROM chancery_issuer, chancery_crl;

-- A foreign key locks the row that it names, and the issuer may lock CAs' rows: CRLs are published all the same. CAs are never deleted.
ALTER TABLE crls DROP CONSTRAINT crls_ca_id_tenant_id_fkey;
ALTER TABLE crl_leases DROP CONSTRAINT crl_leases_ca_id_fkey;
CREATE FUNCTION find_ca() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  found_tenant text := (SELECT tenant_id FROM cas WHERE ca_id = NEW.ca_id);
BEGIN
  IF found_tenant IS NULL THEN
    RAISE EXCEPTION '%: there is no CA %', TG_TABLE_NAME, NEW.ca_id USING ERRCODE = 'foreign_key_violation';
  END IF;
  IF TG_TABLE_NAME = 'crls' THEN  -- a lease has no tenant
    IF found_tenant <> NEW.tenant_id THEN
      RAISE EXCEPTION 'crls: CA % is not of tenant %', NEW.ca_id, NEW.tenant_id USING ERRCODE = 'foreign_key_violation';
    END IF;
  END IF;
  RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION find_ca() FROM PUBLIC;
CREATE TRIGGER of_a_ca BEFORE INSERT OR UPDATE OF ca_id, tenant_id ON crls FOR EACH ROW EXECUTE FUNCTION find_ca();
CREATE TRIGGER of_a_ca BEFORE INSERT OR UPDATE OF ca_id ON crl_leases FOR EACH ROW EXECUTE FUNCTION find_ca();
CREATE FUNCTION keep_ca() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'CA %: a CA is neither deleted nor moved', OLD.name USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER stays BEFORE DELETE ON cas FOR EACH ROW EXECUTE FUNCTION keep_ca();
CREATE TRIGGER same BEFORE UPDATE ON cas FOR EACH ROW
  WHEN (OLD.tenant_id <> NEW.tenant_id) EXECUTE FUNCTION keep_ca();
