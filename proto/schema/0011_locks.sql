-- SPDX-License-Identifier: Apache-2.0
-- Who may hold up whom. An advisory lock is anybody's who can connect: a daemon's role that was taken over stopped the suite by holding the one
-- that appends to the log. A lock that a service's work waits for is a row (or table) that its own role alone may lock.
CREATE TABLE audit_locks (
  name text PRIMARY KEY,
  note text NOT NULL DEFAULT ''          -- never written: UPDATE of a column is what a row lock asks for
);
INSERT INTO audit_locks (name) VALUES ('append'), ('checkpoint');
GRANT SELECT, UPDATE (note) ON audit_locks TO chancery_audit;

-- What one issuer at a time does, for a while: by the database's clock, so that no transaction stays open while it works.
CREATE TABLE issuer_leases (
  name       text PRIMARY KEY,           -- "ocsp/CA", "tsa/CA", "recovery/TENANT", "signers/TENANT", "outbox"
  holder     text NOT NULL,              -- "<instance>/<random>"
  expires_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON issuer_leases TO chancery_issuer;

-- As before, but for the lock: nobody but the issuer may write certificates, so nobody else may lock the table so.
CREATE OR REPLACE FUNCTION ensure_certificate_partitions(first int, last int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  period int;
  partition text;
  made int := 0;
BEGIN
  IF first IS NULL OR last IS NULL OR first < 0 OR last < first OR last > 32767 OR last - first > 1200 THEN
    RAISE EXCEPTION 'expiry periods % to % are out of range', first, last USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Nothing to do is the usual case: no lock then.
  IF NOT EXISTS (SELECT FROM generate_series(first, last) AS wanted (number)
                 WHERE to_regclass(format('public.certificates_p%s', wanted.number)) IS NULL) THEN
    RETURN 0;
  END IF;
  LOCK TABLE public.certificates IN SHARE UPDATE EXCLUSIVE MODE;
  FOR period IN first..last LOOP
    partition := format('certificates_p%s', period);
    -- pg_class and not to_regclass, whose cache still says what was so before the lock.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace AND relname = partition) THEN
      EXECUTE format('CREATE TABLE public.%I (LIKE public.certificates INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition);
      EXECUTE format('ALTER TABLE public.certificates ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)',
                     partition, period, period + 1);
      made := made + 1;
    END IF;
  END LOOP;
  RETURN made;
END $$;

-- What nobody here needs is nobody's: advisory locks (a superuser's to take away; without one, nothing of the suite waits for them), temporary
-- tables, new schemas. Who reads current_database() for the first time is the owner: it runs this.
DO $$
DECLARE
  advisory regprocedure;
BEGIN
  EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
  REVOKE CREATE ON SCHEMA public FROM PUBLIC;
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    FOR advisory IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname LIKE 'pg\_%advisory%' LOOP
      EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', advisory);
    END LOOP;
  END IF;
END $$;

-- A role gets at most half of the server's connections, so that one that floods leaves the others theirs (ALTER ROLE … CONNECTION LIMIT where a
-- cluster of many replicas needs another figure: docs/operations.md). The times are for sessions that set none; daemons set their own.
DO $$
DECLARE
  half int := greatest(20, (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) / 2);
  role record;
BEGIN
  FOR role IN SELECT rolname FROM pg_roles WHERE rolconnlimit = -1 AND rolname IN
    ('chancery_gateway', 'chancery_issuer', 'chancery_ocsp', 'chancery_tsa', 'chancery_crl', 'chancery_audit', 'chancery_vault',
     'chancery_auditor') LOOP
    BEGIN
      EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', role.rolname, half);
      EXECUTE format('ALTER ROLE %I SET statement_timeout = ''15s''', role.rolname);
      EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''120s''', role.rolname);
    EXCEPTION
      -- Not this owner's to change, or changed at this very moment by the migration of another database of the cluster.
      WHEN insufficient_privilege OR internal_error THEN
        RAISE WARNING 'role % has no connection limit: %', role.rolname, SQLERRM;
    END;
  END LOOP;
END $$;
