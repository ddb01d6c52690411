import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { timestamp } from '#http/wire'
import { verifyBooks } from './verification.ts'

const verification = z
  .object({
    ok: z.boolean(),
    checked_at: timestamp,
    findings: z.array(z.object({ invariant: z.string(), detail: z.string() })),
  })
  .meta({ id: 'Verification' })

/** Adds the routes of operators. */
export function adminRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET', url: '/v1/verification', who: { key: 'admin', staff: 'books:verify' }, tag: 'admin',
    summary: 'Check every invariant of the books and name the rows that break one', answer: verification,
    read: () => verifyBooks(kit.db, kit.clock),
  })
}
