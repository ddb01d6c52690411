import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { timestamp } from '#http/wire'
import { advanceTestClock } from '#kernel/test-clock'
import { verifyBooks } from './verification.ts'

const verification = z
  .object({
    ok: z.boolean(),
    checked_at: timestamp,
    findings: z.array(z.object({ invariant: z.string(), detail: z.string() })),
  })
  .meta({ id: 'Verification' })

const testClock = z
  .object({ now: timestamp, mode: z.enum(['sandbox', 'live']) })
  .meta({ id: 'TestClock', description: 'The time this installation goes by.' })

export interface AdminSettings {
  mode: 'sandbox' | 'live'
}

/** Adds the routes of operators. */
export function adminRoutes(app: FastifyInstance, kit: RouteKit, { mode }: AdminSettings): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/test_clock',
    who: { key: 'admin', staff: 'books:verify' },
    tag: 'admin',
    summary: 'Read the time this installation goes by',
    answer: testClock,
    read: () => ({ now: kit.clock.now(), mode }),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/test_clock',
    who: { key: 'admin' },
    tag: 'admin',
    summary: 'Move a sandbox’s time forward',
    description: 'For trying out expiries and deadlines. Never back, and never on a live installation.',
    body: z.strictObject({ advance_seconds: z.int().min(1).max(315_360_000) }),
    answer: testClock,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'test_clock.moved', subject: () => undefined },
    write: async (tx, { body }) => {
      await advanceTestClock(tx, mode, body.advance_seconds * 1000, kit.clock)
      return { now: new Date(kit.clock.now_ms() + body.advance_seconds * 1000), mode }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/verification',
    who: { key: 'admin', staff: 'books:verify' },
    tag: 'admin',
    summary: 'Check every invariant of the books and name the rows that break one',
    answer: verification,
    read: () => verifyBooks(kit.db, kit.clock),
  })
}
