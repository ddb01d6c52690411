import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { shortText } from '#http/wire'
import { startImpersonation } from './impersonation.ts'
import { clientOf, type PeopleRouteKit } from './people-routes.ts'

const impersonation = z
  .object({
    session_id: z.string(),
    user_id: z.string(),
    access_token: z.string().nullable().describe('Shown once; reads what the user reads, for ten minutes.'),
    expires_in: z.int().describe('Seconds.'),
  })
  .meta({ id: 'Impersonation', description: 'A look through a user’s eyes.' })

/** `/v1/users/{id}/impersonations`: support sees what the user sees. */
export function impersonationRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/users/:id/impersonations',
    who: { staff: 'users:impersonate' },
    tag: 'staff',
    status: 201,
    summary: 'Look through a user’s eyes for ten minutes',
    description: 'Reads only. The user sees it among his sessions; the audit log keeps who looked and why.',
    params: z.object({ id: z.string().min(1).max(40) }),
    body: z.strictObject({ reason: shortText }).meta({ id: 'NewImpersonation' }),
    answer: impersonation,
    shown_once: ['access_token'],
    errors: { 403: ['missing_scope', 'user_disabled'], 409: ['invalid_state'] },
    audit: {
      action: 'user.impersonated',
      subject: ({ params }) => params.id,
      after: ({ session_id }, { body }) => ({ session_id, reason: body.reason }),
    },
    across: {
      prefix: 'ses',
      work: (_id, call) => {
        const { network } = clientOf(call)
        const who = { staff_user_id: call.actor.id, user_id: call.params.id, network }
        return startImpersonation(kit.db, people, who)
      },
    },
  })
}
