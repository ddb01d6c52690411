import type { RedisClientType } from '@redis/client'

/** A count as Redis keeps it: the moment when its allowance would be full again. */
export interface RedisCell {
  key: Buffer
  interval_ms: number
  period_ms: number
}

/** Counts in Redis. Whatever Redis or the network says is thrown: the caller has somebody else who counts. */
export interface RedisLimits {
  take(cells: readonly RedisCell[], now_ms: number): Promise<number>
  giveBack(cells: readonly RedisCell[]): Promise<void>
  stop(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 2_000
const ANSWER_TIMEOUT_MS = 500
const RECONNECT_MAX_MS = 3_000
const PREFIX = 'kopilka:limit:'

/** Takes one use of every cell or of none; answers how many milliseconds to wait. */
const TAKE = `
local now, after = tonumber(ARGV[1]), {}
for i, key in ipairs(KEYS) do
  local interval, period = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full = math.max(tonumber(redis.call('GET', key) or '0'), now) + interval
  if full > now + period then return string.format('%.0f', full - now - period) end
  after[i] = full
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', after[i]), 'PX', string.format('%.0f', after[i] - now))
end
return '0'`

/** A cell that is gone is full already: there is nothing to give back. */
const GIVE_BACK = `
for i, key in ipairs(KEYS) do
  local full = redis.call('GET', key)
  if full then
    redis.call('SET', key, string.format('%.0f', tonumber(full) - tonumber(ARGV[i])), 'KEEPTTL')
  end
end
return '0'`

/**
 * Counts in Redis, for several processes. Nothing is true only there: what it forgets is a full allowance.
 * `url` is `redis://user:password@host:6379/0`, or `rediss://…`.
 */
export async function redisLimits(url: string, on_error: (error: unknown) => void): Promise<RedisLimits> {
  const client = await connect(url, on_error)
  const ask = async (script: string, cells: readonly RedisCell[], values: readonly number[]) => {
    const keys = cells.map(({ key }) => PREFIX + key.toString('hex'))
    return Number(await inTime(client.eval(script, { keys, arguments: values.map(String) })))
  }
  return {
    take: (cells, now_ms) => {
      const rules = cells.flatMap(({ interval_ms, period_ms }) => [interval_ms, period_ms])
      return ask(TAKE, cells, [Math.floor(now_ms), ...rules])
    },
    giveBack: async (cells) => {
      await ask(
        GIVE_BACK,
        cells,
        cells.map(({ interval_ms }) => interval_ms),
      )
    },
    stop: async () => client.destroy(),
  }
}

/** Begins to connect, and goes on trying for as long as the process lives. */
async function connect(url: string, on_error: (error: unknown) => void): Promise<RedisClientType> {
  // Whoever has no Redis does not load its client.
  const { createClient } = await import('@redis/client')
  const client: RedisClientType = createClient({
    url,
    disableOfflineQueue: true,
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectStrategy: (retries) => Math.min(100 * 2 ** retries, RECONNECT_MAX_MS),
    },
  })
  client.on('error', on_error)
  // Its first answer is waited for only a little: without it the fallback counts.
  await inTime(client.connect(), CONNECT_TIMEOUT_MS).catch(on_error)
  return client
}

/** Why Redis does not answer; undefined when it does. */
export async function tryRedis(url: string): Promise<string | undefined> {
  let problem: string | undefined
  const client = await connect(url, (error) => {
    problem = error instanceof Error ? error.message || error.name : 'unknown'
  })
  try {
    await inTime(client.ping())
    return undefined
  } catch (error) {
    return problem ?? String(error)
  } finally {
    client.destroy()
  }
}

async function inTime<T>(answer: Promise<T>, timeout_ms = ANSWER_TIMEOUT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Redis did not answer in ${timeout_ms} ms.`)), timeout_ms)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
    // What comes after the time is nobody's business any more.
    answer.catch(() => undefined)
  }
}
