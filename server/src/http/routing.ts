import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Clock } from '#kernel/clock'
import type { Db, Tx } from '#kernel/db'
import { answerOnce, answerOnceAcross, type Answer } from '#kernel/idempotency'
import type { IdPrefix } from '#kernel/ids'
import { wireJson } from '#kernel/json'
import type { Cursors } from '#kernel/page'
import type { Actor } from './actor.ts'
import { idempotencyKeyOf } from './idempotency-key.ts'
import { problem } from './wire.ts'
import type { Who } from './who.ts'

/** What every route needs and no verb should reach for by itself. */
export interface RouteKit {
  db: Db
  clock: Clock
  cursors: Cursors
  /** Refuses what nobody may do alone; absent only in tests of one module. */
  refuseAlone?: RefuseAlone
  /** Where routes that say `audit` write what was done; absent only in tests of one module. */
  audit?: WriteAudit
}

/** Something one person does alone with somebody's money or units. */
export interface LoneAct {
  kind: 'adjustment' | 'refund'
  /** A currency or unit. */
  measure: string
  /** With its sign. */
  amount: bigint
  /** What it adds up to together with what others did to the same thing; default: the amount. */
  amount_of_all?: bigint
  /** Who acts: a user, or a key, behind which its maker is looked for. */
  actor_id: string
  /** Whose money or units. */
  customer_id: string
  /** Names the act for which somebody may have agreed. */
  resource_id?: string
}

/**
 * Throws for an act above its limit that no second person agreed to, by itself or together with what the same
 * person did to the same customer lately; else remembers it.
 */
export type RefuseAlone = (tx: Tx, act: LoneAct) => Promise<void>

/** Keeps one act for good, in the transaction of what it tells. */
export type WriteAudit = (tx: Tx, act: AuditedAct) => Promise<void>

/** Who did what to what, from where. */
export interface AuditedAct {
  actor: Actor
  action: string
  subject_id: string | undefined
  before: unknown
  after: unknown
  address: string
  request_id: string
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
  /** To be set by a `read` that keeps its own idempotency and found the answer it gave before. */
  is_replay: boolean
}

/** What the audit log keeps of a route: in the transaction of a `write`, after the work of an `across`. */
interface Audited<C, Answer> {
  /** `noun.past_participle` */
  action: string
  /** What it was done to; default: the answer's `id`. */
  subject?: (call: C, answer: Answer) => string | undefined
  /** How it was, read before the work. */
  before?: (tx: Tx, call: C) => Promise<unknown>
  /** How it is; default: the answer without what is shown once. */
  after?: (answer: Answer, call: C) => unknown
  /** Only what people do: a program may do it thousands of times a minute. */
  is_for_people_only?: boolean
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
  /** Keeps the body's untouched bytes in `request.raw_body` and parses nothing: for signatures. */
  raw_body?: boolean
  /** Takes an HTML form (`application/x-www-form-urlencoded`) instead of JSON. */
  is_form?: boolean
  /** Called thousands of times a second: one request in a hundred is logged, failures always. */
  is_hot?: boolean
  /** False for a POST that changes nothing and takes no Idempotency-Key. */
  is_keyed?: boolean
  /**
   * Writes the answer of a `read` as JSON, instead of checking and writing it by `answer`: three times as
   * fast. The schema still describes it; a test of the route has to compare the two.
   */
  encode?: (body: z.output<A>) => string
  /**
   * Members of the answer of a `write` or `across` that are shown once: the first answer holds them, what
   * is kept for replays has null in their place. Secrets never reach the database this way.
   */
  shown_once?: readonly (keyof z.input<A> & string)[]
  /** Kept in the audit log: what changes settings, rights or somebody's money. `write` and `across` only. */
  audit?: Audited<CallOf<P, Q, B>, z.output<A>>
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
  | {
      across: { prefix: IdPrefix; work: (resource_id: string, call: CallOf<P, Q, B>) => Promise<z.output<A>> }
    }
  /** Answers by itself: pages, redirects, vendors' own replies. */
  | { reply: (call: CallOf<P, Q, B>, reply: FastifyReply, request: FastifyRequest) => Promise<FastifyReply> }

/** A spec whose schemas are no longer told apart. */
type AnySpec = Spec<z.ZodType, z.ZodType, z.ZodType, z.ZodType> &
  Work<z.ZodType, z.ZodType, z.ZodType, z.ZodType>

/**
 * Adds one route: who may, what comes in, one verb, what goes out, which errors.
 * The only way routes are made, so that none is without permission, limits and schemas.
 * Who may is checked by the server's guard, which every route gets; see guard.ts.
 */
export function addRoute<
  A extends z.ZodType,
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(app: FastifyInstance, kit: RouteKit, spec: Spec<P, Q, B, A> & Work<P, Q, B, A>): void {
  const is_keyed = spec.is_keyed ?? (spec.method !== 'GET' && !('reply' in spec))
  app.route({
    method: spec.method,
    url: spec.url,
    bodyLimit: spec.body_max_bytes ?? 65_536,
    config: {
      who: spec.who,
      anonymous_per_minute: spec.anonymous_per_minute,
      raw_body: spec.raw_body === true,
      is_form: spec.is_form === true,
      is_hot: spec.is_hot === true,
      is_keyed,
      audit_action: spec.audit?.action,
    },
    schema: {
      ...(spec.is_hidden ? { hide: true } : {}),
      summary: spec.summary,
      ...(spec.description === undefined ? {} : { description: spec.description }),
      tags: [spec.tag],
      ...(spec.params ? { params: spec.params } : {}),
      ...(spec.query ? { querystring: spec.query } : {}),
      ...(spec.body ? { body: spec.body } : {}),
      response: responses(spec),
    },
    handler: handlerOf(kit, spec as unknown as AnySpec, is_keyed),
  })
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** Handlers of reads make no promise of their own: the hot path has one, its verb's. */
function handlerOf(kit: RouteKit, spec: AnySpec, is_keyed: boolean): Handler {
  const begin = (request: FastifyRequest, reply: FastifyReply): Call => {
    const call = callOf(request)
    if (is_keyed) {
      call.idempotency_key = idempotencyKeyOf(request)
      reply.header('idempotency-key', call.idempotency_key)
    }
    return call
  }
  if ('reply' in spec) return (request, reply) => spec.reply(begin(request, reply), reply, request)
  if ('read' in spec) return readHandler(spec, begin)
  return async (request, reply) => {
    const answer = await answerOf(kit, spec, begin(request, reply))
    if (answer.is_replay) reply.header('idempotent-replayed', 'true')
    return reply.status(answer.status).header('content-type', JSON_TYPE).serializer(String).send(answer.text)
  }
}

type ReadSpec = Extract<AnySpec, { read: unknown }>

function readHandler(spec: ReadSpec, begin: (request: FastifyRequest, reply: FastifyReply) => Call): Handler {
  const { read, encode, status = 200 } = spec
  return (request, reply) => {
    const call = begin(request, reply)
    const finish = (body: unknown): unknown => {
      if (call.is_replay) reply.header('idempotent-replayed', 'true')
      if (status !== 200) reply.status(status)
      if (encode === undefined) return body
      // A text that is called JSON is sent as it is.
      reply.header('content-type', JSON_TYPE)
      return encode(body)
    }
    const body = read(call)
    return body instanceof Promise ? body.then(finish) : finish(body)
  }
}

const JSON_TYPE = 'application/json; charset=utf-8'

function callOf(request: FastifyRequest): Call {
  return {
    actor: request.actor,
    params: request.params,
    query: request.query,
    body: request.body,
    request_id: request.id,
    ip: request.ip,
    idempotency_key: '',
    headers: request.headers,
    is_replay: false,
  }
}

async function answerOf(
  kit: RouteKit,
  spec: Exclude<AnySpec, { read: unknown } | { reply: unknown }>,
  call: Call,
): Promise<Answer> {
  const keyed = {
    actor_id: call.actor.id,
    route: `${spec.method} ${spec.url}`,
    key: call.idempotency_key,
    // A server that speaks for its users names them in a header: the same call for another is another call.
    input: { params: call.params, query: call.query, body: call.body, ...forUser(call) },
  }
  const status = spec.status ?? 200
  // What the first caller sees when that is more than what is kept.
  let full: string | undefined
  const kept = (body: unknown): { status: number; body: unknown } => {
    const encoded: unknown = z.encode(spec.answer, body)
    if (!spec.shown_once || typeof encoded !== 'object' || encoded === null) return { status, body: encoded }
    full = wireJson(encoded)
    return {
      status,
      body: { ...encoded, ...Object.fromEntries(spec.shown_once.map((name) => [name, null])) },
    }
  }
  const { audit } = spec
  const is_audited = audit !== undefined && (audit.is_for_people_only !== true || call.actor.kind === 'user')
  const noted = async (tx: Tx, before: unknown, body: unknown, shown: unknown): Promise<void> => {
    if (is_audited) await kit.audit?.(tx, actOf(audit, call, { before, body, shown }))
  }
  const answer =
    'write' in spec
      ? await answerOnce(kit.db, kit.clock, keyed, async (tx) => {
          const before = is_audited ? await audit.before?.(tx, call) : undefined
          const body = await spec.write(tx, call)
          const done = kept(body)
          await noted(tx, before, body, done.body)
          return done
        })
      : await answerOnceAcross(kit.db, kit.clock, keyed, spec.across.prefix, async (resource_id) => {
          const body = await spec.across.work(resource_id, call)
          const done = kept(body)
          if (is_audited) await kit.db.transact((tx) => noted(tx, undefined, body, done.body))
          return done
        })
  return full === undefined || answer.is_replay ? answer : { ...answer, text: full }
}

function forUser({ headers }: Call): { for_user?: unknown } {
  const named = headers['x-user-id']
  return named === undefined ? {} : { for_user: named }
}

function actOf(
  audit: Audited<Call, unknown>,
  call: Call,
  { before, body, shown }: { before: unknown; body: unknown; shown: unknown },
): AuditedAct {
  const own_id = typeof body === 'object' && body !== null && 'id' in body ? String(body.id) : undefined
  return {
    actor: call.actor,
    action: audit.action,
    subject_id: audit.subject ? audit.subject(call, body) : own_id,
    before,
    after: audit.after ? audit.after(body, call) : shown,
    address: call.ip,
    request_id: call.request_id,
  }
}

function responses(spec: Pick<AnySpec, 'status' | 'answer' | 'errors'>): Record<number | string, z.ZodType> {
  const table: Record<number | string, z.ZodType> = {
    [spec.status ?? 200]: spec.answer,
    '4xx': problem,
    '5xx': problem,
  }
  for (const [status, codes] of Object.entries(spec.errors ?? {})) {
    table[status] = problem.clone().describe(`Codes: ${codes.join(', ')}`)
  }
  return table
}
