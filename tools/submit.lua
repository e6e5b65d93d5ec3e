-- wrk: single submits of a 200-byte no-op task.
wrk.method = "POST"
wrk.path = "/api/v1/tasks"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"task_type": "opscore.noop", "input_data": "' .. string.rep("x", 198) .. '"}'

local refused = 0
function response(status)
  if status ~= 202 then refused = refused + 1 end
  thread_refused = refused
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary, latency)
  local bad = 0
  for _, thread in ipairs(threads) do bad = bad + (thread:get("thread_refused") or 0) end
  io.write(string.format(
    "single submit over HTTP: %.0f/s, p50 %.2f ms, p99 %.2f ms, %d not accepted, %d socket errors\n",
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, bad,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
