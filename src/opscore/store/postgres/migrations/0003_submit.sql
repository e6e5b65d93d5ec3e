-- submit() for applications on the same database. It checks and writes what the API checks and writes
-- (engine/submission.cc, store/postgres/inserts.cc); keys and ids are those of base/task_key.h.

-- Sums of unsigned 64-bit numbers, and their rotation to the left.
CREATE FUNCTION plus64(a bigint, b bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT ((((a >> 32) & 4294967295) + ((b >> 32) & 4294967295)
           + (((a & 4294967295) + (b & 4294967295)) >> 32)) << 32)
         | (((a & 4294967295) + (b & 4294967295)) & 4294967295) $$;
CREATE FUNCTION rotate64(x bigint, n int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT (x << n) | ((x >> (64 - n)) & ((1::bigint << n) - 1)) $$;

-- SipHash-2-4 of one number.
CREATE FUNCTION siphash(secret bytea, word bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  key bigint[] := '{0,0}';
  length constant bigint := 8::bigint << 56;
  v0 bigint; v1 bigint; v2 bigint; v3 bigint;
BEGIN
  FOR i IN REVERSE 7..0 LOOP
    key[1] := (key[1] << 8) | get_byte(secret, i);
    key[2] := (key[2] << 8) | get_byte(secret, 8 + i);
  END LOOP;
  v0 := key[1] # x'736f6d6570736575'::bigint; v1 := key[2] # x'646f72616e646f6d'::bigint;
  v2 := key[1] # x'6c7967656e657261'::bigint; v3 := key[2] # x'7465646279746573'::bigint;
  v3 := v3 # word;
  FOR round IN 1..8 LOOP
    v0 := plus64(v0, v1); v1 := rotate64(v1, 13) # v0; v0 := rotate64(v0, 32);
    v2 := plus64(v2, v3); v3 := rotate64(v3, 16) # v2;
    v0 := plus64(v0, v3); v3 := rotate64(v3, 21) # v0;
    v2 := plus64(v2, v1); v1 := rotate64(v1, 17) # v2; v2 := rotate64(v2, 32);
    IF round = 2 THEN
      v0 := v0 # word; v3 := v3 # length;
    ELSIF round = 4 THEN
      v0 := v0 # length; v2 := v2 # 255;
    END IF;
  END LOOP;
  RETURN v0 # v1 # v2 # v3;
END $$;

CREATE FUNCTION public_id(key bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  hash bigint := siphash((SELECT value FROM meta WHERE name = 'id_secret'), key);
  hex text := lpad(to_hex(key >> 20), 12, '0') || to_hex(x'7000'::int | ((key >> 8) & 4095)::int)
    || to_hex((2::bigint << 62) | ((key & 255) << 54) | (hash & ((1::bigint << 54) - 1)));
BEGIN
  RETURN format('task_%s-%s-%s-%s-%s', substr(hex, 1, 8), substr(hex, 9, 4), substr(hex, 13, 4),
                substr(hex, 17, 4), substr(hex, 21));
END $$;

CREATE FUNCTION refuse_option(name text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'submit: %: %', name, message USING ERRCODE = 'invalid_parameter_value';
END $$;

-- Of a text such as 250ms, 30s, 10m, 1h, 7d, or a number of seconds.
CREATE FUNCTION milliseconds_of(name text, value json) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  parts text[] := regexp_match(value #>> '{}',
    '^((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)(ms|s|m|h|d)?$');
  ms numeric;
BEGIN
  IF parts IS NULL OR json_typeof(value) NOT IN ('string', 'number') THEN
    PERFORM refuse_option(name, format(
      '%s is not a duration, such as 250ms, 30s, 10m, 1h, 7d', left(value::text, 140)));
  END IF;
  ms := parts[1]::numeric * CASE parts[2] WHEN 'ms' THEN 1 WHEN 'm' THEN 60000
    WHEN 'h' THEN 3600000 WHEN 'd' THEN 86400000 ELSE 1000 END;
  IF ms > 3200000000000 THEN
    PERFORM refuse_option(name, format('%s is more than a century', left(value::text, 140)));
  END IF;
  RETURN round(ms);
END $$;

-- Of a time of RFC 3339; NULL when it is none.
CREATE FUNCTION time_of(value json) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'string' OR value #>> '{}' !~
    '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$' THEN
    RETURN NULL;
  END IF;
  RETURN floor(extract(epoch FROM (value #>> '{}')::timestamptz) * 1000);
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
  RETURN NULL;
END $$;

CREATE FUNCTION integer_of(name text, value json, low bigint, high bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'number' OR value::text !~ '^-?\d{1,18}$' THEN
    PERFORM refuse_option(name, format('%s is not an integer', left(value::text, 140)));
  ELSIF value::text::bigint NOT BETWEEN low AND high THEN
    PERFORM refuse_option(name, format('is %s; it must be %s..%s', value::text, low, high));
  END IF;
  RETURN value::text::bigint;
END $$;

CREATE FUNCTION text_of(name text, value json, most int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  content text := value #>> '{}';
BEGIN
  IF json_typeof(value) <> 'string' THEN
    PERFORM refuse_option(name, format('%s is not a string', left(value::text, 140)));
  ELSIF octet_length(content) > most THEN
    PERFORM refuse_option(name, format('is %s bytes long; at most %s', octet_length(content), most));
  END IF;
  RETURN content;
END $$;

CREATE FUNCTION number_of(name text, value json, low float8, high float8) RETURNS float8
LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'number' OR value::text::numeric NOT BETWEEN low::numeric
    AND high::numeric THEN
    PERFORM refuse_option(name, format('must be a number between %s and %s', low, high));
  END IF;
  RETURN value::text::float8;
END $$;

-- The retry policy as tasks store it.
CREATE FUNCTION retry_of(backoff json) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  low bigint := 1000; high bigint := 600000;
  factor float8 := 2; jitter_low float8 := 0; jitter_high float8 := 1;
  name text; value json;
BEGIN
  IF json_typeof(backoff) <> 'object' THEN
    PERFORM refuse_option('backoff', 'must be an object');
  END IF;
  FOR name, value IN SELECT * FROM json_each(backoff) LOOP
    CASE name
      WHEN 'min' THEN low := milliseconds_of('backoff.min', value);
      WHEN 'max' THEN high := milliseconds_of('backoff.max', value);
      WHEN 'factor' THEN factor := number_of('backoff.factor', value, 1, 1000);
      WHEN 'jitter' THEN
        IF json_typeof(value) = 'array' AND json_array_length(value) = 2 THEN
          jitter_low := number_of('backoff.jitter', value -> 0, 0, 10);
          jitter_high := number_of('backoff.jitter', value -> 1, 0, 10);
        ELSE
          jitter_low := 1 - number_of('backoff.jitter', value, 0, 1);
        END IF;
      ELSE PERFORM refuse_option('backoff.' || name,
        'unknown field; known are min, max, factor, jitter');
    END CASE;
  END LOOP;
  IF high < low THEN PERFORM refuse_option('backoff', 'needs 0 <= min <= max'); END IF;
  IF jitter_high < jitter_low THEN
    PERFORM refuse_option('backoff.jitter', 'needs 0 <= low <= high <= 10');
  END IF;
  RETURN format('{"min_ms":%s,"max_ms":%s,"factor":%s,"jitter_low":%s,"jitter_high":%s}', low, high,
                factor, jitter_low, jitter_high);
END $$;

CREATE FUNCTION labels_of(labels json) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  name text; value json;
  count int := 0;
BEGIN
  IF json_typeof(labels) <> 'object' THEN PERFORM refuse_option('labels', 'must be an object'); END IF;
  FOR name, value IN SELECT * FROM json_each(labels) LOOP
    IF name !~ '^[A-Za-z_][A-Za-z0-9._-]{0,127}$' THEN
      PERFORM refuse_option('labels', format(
        '''%s'' must start with a letter or _, and only have letters, digits, and . _ -',
        left(name, 140)));
    END IF;
    PERFORM text_of('labels.' || name, value, 256);
    count := count + 1;
  END LOOP;
  IF count > 32 THEN
    PERFORM refuse_option('labels', format('has %s entries; at most 32', count));
  END IF;
  RETURN (SELECT '{' || string_agg(to_json(l.key)::text || ':' || to_json(l.value)::text, ','
                                   ORDER BY l.key COLLATE "C") || '}' FROM json_each_text(labels) l);
END $$;

-- Keys carry node 255, which no process leases. Within a millisecond they are told apart by the
-- microsecond, and that by a sequence.
CREATE SEQUENCE sql_keys;
CREATE FUNCTION next_key() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  us bigint; made bigint;
BEGIN
  LOOP
    us := extract(epoch FROM clock_timestamp()) * 1000000;
    made := (us / 1000 << 20) | ((us % 1000 * 4 + nextval('sql_keys') % 4) << 8) | 255;
    EXIT WHEN NOT EXISTS(SELECT 1 FROM tasks WHERE key = made);  -- the clock may step back
  END LOOP;
  RETURN made;
END $$;

CREATE FUNCTION base36(number bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  rest bigint := abs(number); digits text := '';
BEGIN
  LOOP
    digits := substr('0123456789abcdefghijklmnopqrstuvwxyz', (rest % 36)::int + 1, 1) || digits;
    rest := rest / 36;
    EXIT WHEN rest = 0;
  END LOOP;
  RETURN CASE WHEN number < 0 THEN '-' ELSE '' END || digits;
END $$;

-- What of the world has to hear it at the commit, in the form of news.h. Places are rounded down, so
-- that the server tells what many calls of a transaction say once. Commits that notify wait for each
-- other, which an application can choose not to do.
CREATE FUNCTION tell_submitted(queue text, place bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  channel text := 'opscore:' || current_schema;
BEGIN
  IF current_setting('opscore.notify', true) = 'off' THEN RETURN; END IF;
  IF octet_length(channel) > 63 THEN
    channel := 'opscore:' || left(encode(sha256(convert_to(current_schema, 'UTF8')), 'hex'), 40);
  END IF;
  PERFORM pg_notify(channel, ';' || queue || ':' || base36(place / 1000 * 1000) || ';;');
END $$;

CREATE FUNCTION submit(type text, input json, options json DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  known constant text[] := '{queue,priority,run_at,delay,max_attempts,backoff,timeout,deadline,'
    'idempotency_key,task_id,name,labels,metadata}';
  now_ms constant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
  option text; value json;
  entry json;
  queue text; priority int := 0; due_at bigint; run_at bigint; delay bigint; max_attempts int;
  retry text; timeout bigint; deadline bigint; deadline_in bigint; idempotency_key text;
  task_id text; task_name text; labels text; metadata text;
  stored text; hash bytea; made bigint; place bigint; lane int; most bigint;
  keys_wanted int := 0; keys_made int; taken record;
BEGIN
  IF type IS NULL OR type !~ '^[A-Za-z_][A-Za-z0-9._-]{0,127}$' THEN
    PERFORM refuse_option('type', format('''%s'' must start with a letter or _, and only have '
      'letters, digits, and . _ -, at most 128', coalesce(left(type, 140), 'NULL')));
  END IF;
  IF input IS NULL THEN
    PERFORM refuse_option('input', 'is NULL; a task without input has the JSON ''null''');
  END IF;
  IF octet_length(input::text) > 1048576 THEN
    PERFORM refuse_option('input', format('is %s bytes; at most 1048576. Store large data elsewhere '
      'and submit a reference', octet_length(input::text)));
  END IF;
  options := coalesce(options, '{}');
  IF json_typeof(options) <> 'object' THEN
    PERFORM refuse_option('options', 'must be an object');
  END IF;
  FOR option, value IN SELECT * FROM json_each(options) LOOP
    IF option = 'webhook' THEN
      PERFORM refuse_option(option, 'cannot be given in SQL; submit by the API');
    ELSIF option <> ALL(known) THEN
      PERFORM refuse_option(left(option, 140),
        'unknown option; known are ' || array_to_string(known, ', '));
    ELSIF (SELECT count(*) FROM json_object_keys(options) k WHERE k = option) > 1 THEN
      PERFORM refuse_option(option, 'is given twice');
    END IF;
    CONTINUE WHEN json_typeof(value) = 'null';
    CASE option
      WHEN 'queue' THEN queue := text_of(option, value, 128);
      WHEN 'priority' THEN priority := integer_of(option, value, -100, 100);
      WHEN 'run_at' THEN
        run_at := time_of(value);
        IF run_at IS NULL THEN
          PERFORM refuse_option(option, format(
            '%s is not an RFC 3339 time, such as 2026-01-31T12:00:00Z', left(value::text, 140)));
        END IF;
      WHEN 'delay' THEN delay := milliseconds_of(option, value);
      WHEN 'max_attempts' THEN max_attempts := integer_of(option, value, 0, 1000000);
      WHEN 'backoff' THEN retry := retry_of(value);
      WHEN 'timeout' THEN
        timeout := milliseconds_of(option, value);
        IF timeout NOT BETWEEN 1 AND 2592000000 THEN
          PERFORM refuse_option(option, format(
            'is %s; it must be more than 0 and at most 30d', value::text));
        END IF;
      WHEN 'deadline' THEN
        deadline := time_of(value);
        IF deadline IS NULL THEN deadline_in := milliseconds_of(option, value); END IF;
        IF coalesce(deadline, now_ms + deadline_in) <= now_ms THEN
          PERFORM refuse_option(option, format('%s is not later than now', value::text));
        END IF;
      WHEN 'idempotency_key' THEN idempotency_key := text_of(option, value, 256);
      WHEN 'task_id' THEN task_id := text_of(option, value, 128);
      WHEN 'name' THEN task_name := nullif(text_of(option, value, 256), '');
      WHEN 'labels' THEN labels := labels_of(value);
      WHEN 'metadata' THEN
        metadata := value::text;
        IF json_typeof(value) <> 'object' OR octet_length(metadata) > 65536 THEN
          PERFORM refuse_option(option, 'must be an object of at most 65536 bytes');
        END IF;
    END CASE;
  END LOOP;
  IF run_at IS NOT NULL AND delay IS NOT NULL THEN
    PERFORM refuse_option('delay', 'is given together with run_at; give one of them');
  END IF;
  run_at := coalesce(run_at, now_ms + delay);
  due_at := coalesce(run_at, now_ms);
  IF queue !~ '^[A-Za-z_][A-Za-z0-9._-]{0,127}$' OR queue ~ '\.(DQ|XQ)$' THEN
    PERFORM refuse_option('queue', format('''%s'' must start with a letter or _, only have letters, '
      'digits, and . _ -, and not end in .DQ or .XQ', queue));
  END IF;
  IF task_id !~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$' OR task_id = 'batch' THEN
    PERFORM refuse_option('task_id', format('''%s'' must start with a letter or digit, only have '
      'letters, digits, and . _ : -, and not be ''batch''', task_id));
  END IF;
  IF idempotency_key = '' THEN
    PERFORM refuse_option('idempotency_key', 'is empty; leave it out instead');
  END IF;

  -- What its workers have announced.
  SELECT c.entry::json INTO entry FROM catalogue c WHERE c.seen > now_ms - 2592000000
    AND (c.type = type OR (c.entry::jsonb -> 'aliases') ? type)
    ORDER BY c.type = type DESC LIMIT 1;
  IF entry IS NULL THEN
    PERFORM refuse_option('type', format('no actor ''%s'' is known; workers announce theirs when '
      'they start; known are: %s', type,
      coalesce((SELECT string_agg(c.type, ', ' ORDER BY c.type) FROM
        (SELECT c.type FROM catalogue c ORDER BY c.type LIMIT 20) c), 'none')));
  END IF;
  queue := coalesce(queue, entry ->> 'queue', 'default');
  max_attempts := coalesce(max_attempts, (entry ->> 'max_attempts')::int, 5);
  retry := coalesce(retry, entry ->> 'retry');
  timeout := coalesce(timeout, (entry ->> 'timeout_ms')::bigint);

  -- As encode_options() writes them; the hash leaves out what moves with the clock.
  SELECT string_agg(o.member, ',' ORDER BY o.n) INTO stored FROM (VALUES
    (1, '"id":' || to_json(task_id)), (2, '"name":' || to_json(task_name)),
    (3, '"labels":' || labels), (4, '"metadata":' || metadata), (5, '"retry":' || retry),
    (6, '"timeout_ms":' || timeout), (7, '"deadline_ms":' || deadline),
    (8, '"idempotency_key":' || to_json(idempotency_key))) o(n, member) WHERE o.member IS NOT NULL;
  SELECT substr(sha256(convert_to(string_agg(octet_length(p.part) || ':' || p.part, '' ORDER BY p.n),
                                  'UTF8')), 1, 16) INTO hash
    FROM (VALUES (1, type), (2, queue), (3, input::text), (4, coalesce('{' || stored || '}', '')),
      (5, format('%s %s %s %s %s', priority, max_attempts, coalesce(delay, -1),
                 CASE WHEN delay IS NULL THEN coalesce(run_at, -1) ELSE -1 END,
                 coalesce(deadline_in, -1)))) p(n, part);
  IF deadline_in IS NOT NULL THEN
    deadline := now_ms + deadline_in;
    stored := concat_ws(',', stored, '"deadline_ms":' || deadline);
  END IF;
  stored := '{' || concat_ws(',', stored, '"unchecked":true') || '}';

  made := next_key();
  keys_wanted := (task_id IS NOT NULL)::int + (idempotency_key IS NOT NULL)::int;
  WHILE keys_wanted > 0 LOOP
    SELECT k.task, k.hash, k.kind, k.key INTO taken FROM keys k
      WHERE (k.kind, k.scope, k.key) IN ((0, '', task_id), (1, type, idempotency_key))
      ORDER BY k.kind LIMIT 1;
    IF FOUND AND taken.hash = hash THEN
      RETURN (SELECT coalesce(t.options::json ->> 'id', public_id(t.key)) FROM tasks t
              WHERE t.key = taken.task);
    ELSIF FOUND THEN
      RAISE EXCEPTION 'submit: % ''%'' belongs to another task, %, which was submitted differently',
        CASE taken.kind WHEN 0 THEN 'task_id' ELSE 'idempotency_key' END, taken.key,
        (SELECT coalesce(t.options::json ->> 'id', public_id(t.key)) FROM tasks t
         WHERE t.key = taken.task) USING ERRCODE = 'unique_violation';
    END IF;
    -- Waits for whoever is about to take one of them.
    INSERT INTO keys SELECT u.kind, u.scope, u.key, made, hash
      FROM (VALUES (0, '', task_id), (1, type, idempotency_key)) u(kind, scope, key)
      WHERE u.key IS NOT NULL ORDER BY u.kind ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS keys_made = ROW_COUNT;
    EXIT WHEN keys_made = keys_wanted;
    DELETE FROM keys k WHERE k.task = made;
  END LOOP;

  -- Other submitters are not held up until this transaction ends, so that several at once can exceed
  -- the limit by what they submit.
  SELECT coalesce((SELECT l.max_input_bytes FROM queue_limits l WHERE l.queue = queue AND l.chosen),
    (SELECT l.max_input_bytes FROM queue_limits l WHERE l.queue = queue AND NOT l.chosen)) INTO most;
  IF octet_length(input::text) > most THEN
    PERFORM refuse_option('input', format('is %s bytes; queue ''%s'' takes at most %s',
                                          octet_length(input::text), queue, most));
  END IF;
  SELECT coalesce((SELECT l.max_pending FROM queue_limits l WHERE l.queue = queue AND l.chosen),
    (SELECT l.max_pending FROM queue_limits l WHERE l.queue = queue AND NOT l.chosen)) INTO most;
  IF most IS NOT NULL AND (SELECT count(*) FROM live l WHERE l.lane IN
      (SELECT n.lane FROM lanes n WHERE n.queue = queue) AND l.state + 0 IN (0, 2)) >= most THEN
    RAISE EXCEPTION 'submit: queue ''%'' is full: % tasks wait in it; try again later', queue, most
      USING ERRCODE = 'configuration_limit_exceeded';
  END IF;

  SELECT n.lane INTO lane FROM lanes n WHERE n.queue = queue AND n.type = type;
  IF lane IS NULL THEN
    INSERT INTO lanes(queue, type) VALUES(queue, type) ON CONFLICT DO NOTHING;
    SELECT n.lane INTO STRICT lane FROM lanes n WHERE n.queue = queue AND n.type = type;
  END IF;
  place := due_at - priority * 6000;
  INSERT INTO tasks(key, run_at, lane, max_attempts, priority, input, options)
    VALUES(made, run_at, lane, max_attempts, priority, input::text, stored);
  INSERT INTO live(key, place, run_at, deadline, lane, attempt, charged, budget, snoozes, losses,
      deaths, edits, priority, state, suspect, later, cancel_requested)
    VALUES(made, place, due_at, deadline, lane, 0, 0, max_attempts, 0, 0, 0, 0, priority,
      CASE WHEN due_at > now_ms THEN 0 ELSE 2 END, false, due_at > now_ms, false);
  -- Tokens are for the broker: none while no process of the installation has one.
  IF due_at <= now_ms AND EXISTS(SELECT 1 FROM meta m WHERE m.name = 'announce_until' AND
      convert_from(m.value, 'UTF8')::timestamptz > now()) THEN
    INSERT INTO outbox(kind, destination, body, properties, not_before)
      VALUES(0, queue, '1', '', now_ms);
  END IF;
  PERFORM tell_submitted(queue, place);
  RETURN coalesce(task_id, public_id(made));
END $$;

-- Whoever may use the schema may submit, and needs nothing else of it.
DO $$ BEGIN
  EXECUTE format('ALTER FUNCTION submit SET search_path = %I, pg_temp', current_schema);
  EXECUTE format('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', current_schema);
  GRANT EXECUTE ON FUNCTION submit TO PUBLIC;
END $$;
