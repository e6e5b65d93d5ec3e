-- Of a task that is run outside, by Python's Dramatiq: until when nobody doubts that it is in good
-- hands. No claim takes such a row, so this index costs the others nothing.
ALTER TABLE live ADD COLUMN external bigint;
CREATE INDEX live_external ON live(external) WHERE external IS NOT NULL;

-- submit() for the actors of Dramatiq, too: what it writes is then handed over instead of claimed.
ALTER FUNCTION submit RENAME TO submit_here;
CREATE FUNCTION submit(type text, input json, options json DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  id constant text := submit_here(type, input, options);
  dramatiq text; asked int; made bigint; queue text;
BEGIN
  SELECT coalesce(c.entry::json ->> 'dramatiq', '{}'),
      coalesce(options ->> 'max_attempts', c.entry::json ->> 'max_attempts')
    INTO dramatiq, asked FROM catalogue c
    WHERE c.type = type AND c.entry::json ->> 'kind' = 'dramatiq';
  IF NOT FOUND THEN RETURN id; END IF;
  IF json_typeof(input) NOT IN ('object', 'array', 'null') THEN
    PERFORM refuse_option('input', 'of an actor of Dramatiq is an object, its keyword arguments, an '
      'array, its arguments, or null');
  END IF;
  SELECT k.task INTO made FROM keys k WHERE k.kind = 0 AND k.scope = '' AND k.key = id;
  IF made IS NULL THEN made := key_of(id); END IF;
  -- Not of a task that was there before.
  UPDATE live l SET external = l.run_at + 86400000, budget = 0, deadline = NULL
    WHERE l.key = made AND l.external IS NULL AND l.attempt = 0 AND l.state + 0 IN (0, 2);
  IF NOT FOUND THEN RETURN id; END IF;
  -- As broker/dramatiq/task_message.h has it.
  UPDATE tasks t SET max_attempts = coalesce(asked, 0), options = left(t.options, -1)
    || ',"dramatiq":{' || concat_ws(',', nullif(substr(dramatiq, 2, length(dramatiq) - 2), ''),
      CASE asked WHEN 0 THEN '"max_retries":null' ELSE '"max_retries":' || asked - 1 END,
      '"min_backoff":' || (t.options::json #>> '{retry,min_ms}'),
      '"max_backoff":' || (t.options::json #>> '{retry,max_ms}'),
      '"time_limit":' || (t.options::json ->> 'timeout_ms'),
      '"max_age":' || (t.options::json ->> 'deadline_ms')::bigint - (t.key >> 20),
      CASE WHEN t.priority > 0 THEN '"broker_priority":' || t.priority END) || '}}'
    WHERE t.key = made;
  SELECT n.queue INTO queue FROM live l JOIN lanes n ON n.lane = l.lane WHERE l.key = made;
  INSERT INTO outbox(kind, destination, body, properties, not_before)
    VALUES(1, 'handover:' || queue, convert_to(format('{"task":%s,"attempt":0}', made), 'UTF8'), '',
      floor(extract(epoch FROM clock_timestamp()) * 1000));
  RETURN id;
END $$;

-- Of a public id, whose hash submit_here() has just made.
CREATE FUNCTION key_of(id text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT (('x' || lpad(substr(h.hex, 1, 12), 16, '0'))::bit(64)::bigint << 20)
    | ((('x' || lpad(substr(h.hex, 13, 4), 16, '0'))::bit(64)::bigint & 4095) << 8)
    | ((('x' || substr(h.hex, 17, 16))::bit(64)::bigint >> 54) & 255)
  FROM (SELECT translate(substr(id, 6), '-', '') AS hex) h $$;

DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION submit SET search_path = %I, pg_temp', current_schema);
  REVOKE EXECUTE ON FUNCTION submit_here FROM PUBLIC;
  REVOKE EXECUTE ON FUNCTION key_of FROM PUBLIC;
  GRANT EXECUTE ON FUNCTION submit TO PUBLIC;
END $$;
