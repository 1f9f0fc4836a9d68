-- Requests of one operation (OPERATION), and one line of JSON at the end.
local operation = os.getenv("OPERATION")
local ids = {}
local file = os.getenv("IDS")
if file and file ~= "" then
  for line in io.lines(file) do ids[#ids + 1] = line end
end
math.randomseed(7)
local numbers = 0

function request()
  if operation == "health" then return wrk.format("GET", "/health/") end
  if operation == "list" then return wrk.format("GET", "/api/v1/tasks?page=1&page_size=20") end
  if operation == "create" then
    numbers = numbers + 1
    local body = '{"pr_url":"https://github.com/acme/widgets/pull/' .. (numbers % 1000000 + 1)
      .. '","agents":["iflow","claude","gemini"],"max_files":50}'
    return wrk.format("POST", "/api/v1/tasks", { ["Content-Type"] = "application/json" }, body)
  end
  local id = ids[math.random(#ids)]
  if operation == "artifacts" then return wrk.format("GET", "/api/v1/artifacts/" .. id .. "/list") end
  local after = operation == "leaderboard" and "/leaderboard" or ""
  return wrk.format("GET", "/api/v1/tasks/" .. id .. after)
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('JSON {"rps":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"failed":%d}\n',
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, failed))
end
