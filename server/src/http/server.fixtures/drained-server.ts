/**
 * A process of its own for the draining test: slow and fast routes, ended by SIGTERM. Tells its port over
 * IPC.
 */
import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import { addRoute } from '../routing.ts'
import { drainServer, shutdownOnSignals } from '../shutdown.ts'
import { openLab } from './lab.ts'

const lab = await openLab((app, kit) => {
  addRoute(app, kit, {
    method: 'POST',
    url: '/busy/:ms',
    who: { key: 'any' },
    summary: 'Work',
    tag: 'test',
    params: z.object({ ms: z.coerce.number() }),
    body: z.strictObject({ n: z.int() }),
    answer: z.object({ n: z.int() }),
    read: async ({ params, body }) => {
      if (params.ms > 0) await new Promise((resolve) => setTimeout(resolve, params.ms))
      return { n: body.n }
    },
  })
})
const log = {
  info: () => undefined,
  warn: () => undefined,
  error: (fields: object, message: string) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
}
const timeout_ms = Number(process.argv[2] ?? 20_000)
shutdownOnSignals({
  stop: () => drainServer(lab.app, { timeout_ms, quiet_ms: 500, grace_ms: Number(process.argv[3] ?? 0) }),
  log,
  timeout_ms: timeout_ms + 3_000,
})
await lab.app.listen({ host: '127.0.0.1', port: 0 })
process.send?.((lab.app.server.address() as AddressInfo).port)
process.disconnect?.()
