-- Raised by whoever changes what is set about queues and actors, so that processes can keep what they
-- have read of it.
CREATE TABLE settings(version bigint NOT NULL);
INSERT INTO settings VALUES(0);

-- Fails with OS002 unless they are still what the caller has read.
CREATE FUNCTION settings_are(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT version FROM settings) <> expected THEN
    RAISE EXCEPTION 'the settings have changed' USING ERRCODE = 'OS002';
  END IF;
END $$;
