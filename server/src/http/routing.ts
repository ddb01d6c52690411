import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Clock } from '#kernel/clock'
import type { Db, Tx } from '#kernel/db'
import { answerOnce, answerOnceAcross, type Answer } from '#kernel/idempotency'
import type { IdPrefix } from '#kernel/ids'
import { wireJson } from '#kernel/json'
import type { Cursors } from '#kernel/page'
import { type Actor, checkWho } from './actor.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { problem } from './wire.ts'
import type { Who } from './who.ts'

/** What every route needs and no verb should reach for by itself. */
export interface RouteKit {
  db: Db
  clock: Clock
  cursors: Cursors
}

/** A request that passed authentication, permission and validation. */
export interface Call<Params = unknown, Query = unknown, Body = unknown> {
  actor: Actor
  params: Params
  query: Query
  body: Body
  request_id: string
  /** Address of the caller as the trusted proxies give it. */
  ip: string
  /** The caller's Idempotency-Key, or one made for this request. */
  idempotency_key: string
  headers: FastifyRequest['headers']
}

type Infer<S> = S extends z.ZodType ? z.output<S> : undefined

interface Spec<P, Q, B, A extends z.ZodType> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  /** Who may call it; checked before anything else. */
  who: Who
  summary: string
  description?: string
  tag: string
  params?: P
  query?: Q
  body?: B
  /** Status of success; default 200. */
  status?: 200 | 201 | 202
  answer: A
  /** Codes of the errors beyond the common ones, by status: `{ 402: ['insufficient_funds'] }`. */
  errors?: Readonly<Record<number, readonly string[]>>
  /** Largest body in bytes; default 64 KiB. */
  body_max_bytes?: number
  /** Requests a minute for one anonymous address on this route, instead of the common limit. */
  anonymous_per_minute?: number
  /** Keeps the body's untouched bytes and parses nothing: for signatures. */
  raw_body?: boolean
  /** Left out of openapi.json (a product's own page). */
  is_hidden?: boolean
}

type CallOf<P, Q, B> = Call<Infer<P>, Infer<Q>, Infer<B>>

/** Exactly one of the four ways to answer. */
type Work<P, Q, B, A extends z.ZodType> =
  /** Changes nothing, or keeps its own idempotency (the ledger's lanes). */
  | { read: (call: CallOf<P, Q, B>) => Promise<z.output<A>> | z.output<A> }
  /** Writes in one transaction, once per Idempotency-Key; the answer is replayed byte for byte. */
  | { write: (tx: Tx, call: CallOf<P, Q, B>) => Promise<z.output<A>> }
  /** Spans the outside world; gets the id its resource must have, the same again after a crash. */
  | { across: { prefix: IdPrefix; work: (resource_id: string, call: CallOf<P, Q, B>) => Promise<z.output<A>> } }
  /** Answers by itself: pages, redirects, vendors' own replies. */
  | { reply: (call: CallOf<P, Q, B>, reply: FastifyReply, request: FastifyRequest) => Promise<FastifyReply> }

/**
 * Adds one route: who may, what comes in, one verb, what goes out, which errors.
 * The only way routes are made, so that none is without permission, limits and schemas.
 */
export function addRoute<
  A extends z.ZodType,
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(app: FastifyInstance, kit: RouteKit, spec: Spec<P, Q, B, A> & Work<P, Q, B, A>): void {
  app.route({
    method: spec.method,
    url: spec.url,
    bodyLimit: spec.body_max_bytes ?? 65_536,
    config: { who: spec.who, anonymous_per_minute: spec.anonymous_per_minute, raw_body: spec.raw_body === true },
    schema: {
      ...(spec.is_hidden ? { hide: true } : {}),
      summary: spec.summary,
      ...(spec.description === undefined ? {} : { description: spec.description }),
      tags: [spec.tag],
      ...(spec.params ? { params: spec.params } : {}),
      ...(spec.query ? { querystring: spec.query } : {}),
      ...(spec.body ? { body: spec.body } : {}),
      ...('write' in spec || 'across' in spec ? { headers: idempotencyHeaders } : {}),
      response: responses(spec),
    },
    handler: async (request, reply) => {
      const call = {
        actor: request.actor,
        params: request.params,
        query: request.query,
        body: request.body,
        request_id: request.id,
        ip: request.ip,
        idempotency_key: '',
        headers: request.headers,
      } as CallOf<P, Q, B>
      if ('reply' in spec) return spec.reply(call, reply, request)
      if (spec.method !== 'GET') {
        call.idempotency_key = idempotencyKeyOf(request)
        reply.header('idempotency-key', call.idempotency_key)
      }
      if ('read' in spec) {
        reply.status(spec.status ?? 200)
        return spec.read(call)
      }
      const answer = await answerOf(kit, spec, call)
      if (answer.is_replay) reply.header('idempotent-replayed', 'true')
      return reply.status(answer.status).type('application/json; charset=utf-8').serializer(asIs).send(answer.text)
    },
    preHandler: (request, _reply, done) => {
      try {
        checkWho(request.actor, spec.who)
        done()
      } catch (error) {
        done(error as Error)
      }
    },
  })
}

const idempotencyHeaders = z.object({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .describe('The caller’s name for this one intent; the same key answers the same. Without it a retry is a new intent.'),
})

const asIs = (text: unknown): string => String(text)

async function answerOf<P, Q, B, A extends z.ZodType>(
  kit: RouteKit,
  spec: Spec<P, Q, B, A> & Work<P, Q, B, A>,
  call: CallOf<P, Q, B>,
): Promise<Answer> {
  const keyed = {
    actor_id: call.actor.id,
    route: `${spec.method} ${spec.url}`,
    key: call.idempotency_key,
    input: { params: call.params, query: call.query, body: call.body },
  }
  const status = spec.status ?? 200
  const encode = (body: z.output<A>): unknown => z.encode(spec.answer, body)
  if ('write' in spec) {
    return answerOnce(kit.db, kit.clock, keyed, async (tx) => ({ status, body: encode(await spec.write(tx, call)) }))
  }
  if ('across' in spec) {
    const { prefix, work } = spec.across
    return answerOnceAcross(kit.db, kit.clock, keyed, prefix, async (resource_id) => ({
      status,
      body: encode(await work(resource_id, call)),
    }))
  }
  const body = 'read' in spec ? await spec.read(call) : undefined
  return { status, text: wireJson(body), is_replay: false }
}

function responses(spec: Spec<unknown, unknown, unknown, z.ZodType>): Record<number | string, z.ZodType> {
  const table: Record<number | string, z.ZodType> = { [spec.status ?? 200]: spec.answer, '4xx': problem, '5xx': problem }
  for (const [status, codes] of Object.entries(spec.errors ?? {})) {
    table[status] = problem.clone().describe(`Codes: ${codes.join(', ')}`)
  }
  return table
}
