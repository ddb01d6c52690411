import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { customerKey, shortText, timestamp } from '#http/wire'
import { type BenefitKit, granterOf, writeAudit } from '#modules/identity'
import { erasePerson, exportPerson } from './personal-data.ts'

const params = z.object({ id: customerKey })
const personalData = z
  .object({
    customer_id: z.string(),
    made_at: timestamp,
    is_complete: z.boolean(),
    parts: z.record(z.string(), z.array(z.unknown())),
  })
  .meta({ id: 'PersonalData', description: 'Everything kept about one person, by table.' })
const erased = z.object({ customer_id: z.string() })
const erasure = z.strictObject({ reason: shortText }).meta({ id: 'Erasure' })
const tag = 'personal data'

/** What is known about a person: taken out, or forgotten. */
export function personalDataRoutes(app: FastifyInstance, kit: RouteKit, benefits: BenefitKit): void {
  const { db, clock } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/personal_data',
    who: { key: 'admin', staff: 'personal_data:export' },
    tag,
    summary: 'Take out everything known about a person',
    params,
    answer: personalData,
    read: ({ params: { id }, actor, ip, request_id }) =>
      db.transact(
        async (tx) => {
          const data = await exportPerson(tx, clock, id)
          const subject_id = data.customer_id
          await writeAudit(tx, clock, {
            actor,
            action: 'personal_data.exported',
            subject_id,
            address: ip,
            request_id,
          })
          return data
        },
        { isolation: 'repeatable read' },
      ),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me/personal_data',
    who: { user: true },
    tag,
    summary: 'Take out everything known about oneself',
    answer: personalData,
    read: ({ actor }) => exportPerson(db, clock, actor.kind === 'user' ? actor.customer_id : ''),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers/:id/erase',
    who: { key: 'admin', staff: 'personal_data:erase' },
    tag,
    summary: 'Forget a person for good',
    description: 'Ids, amounts and moments stay, so that the books stay whole.',
    params,
    body: erasure,
    answer: erased,
    errors: { 403: ['missing_scope'], 409: ['invalid_state'] },
    audit: {
      action: 'personal_data.erased',
      subject: (_call, done) => done.customer_id,
      after: (_done, { body }) => ({ reason: body.reason }),
    },
    write: (tx, { params: { id }, actor }) => erasePerson(tx, benefits, granterOf(actor), id),
  })
}
