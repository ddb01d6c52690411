import type { FastifyInstance, RouteOptions } from 'fastify'
import { z } from 'zod'
import type { Who } from '../src/http/who.ts'
import type { Method } from './people-lab.ts'

/** A route of the program, as Fastify knows it. */
export interface Route {
  method: Method
  url: string
  who: Who
  audit_action?: string | undefined
  /** What its body may hold, by member; undefined when it takes none, or no object. */
  body: Readonly<Record<string, z.ZodType>> | undefined
  /** What its query may hold, by member; undefined when it takes none. */
  query: Readonly<Record<string, z.ZodType>> | undefined
  answer: unknown
}

export interface RouteTable {
  routes: Route[]
  /** Routes that do not say who may call them. */
  undeclared: string[]
}

export const nameOf = ({ method, url }: Pick<Route, 'method' | 'url'>): string => `${method} ${url}`
/** Lets everybody in, or asks for a proof of its own. */
export const isOpen = ({ who }: Pick<Route, 'who'>): boolean =>
  who.anonymous === true || who.proof !== undefined

/** Notes every route that is added to a server from now on. */
export function watchRoutes(http: FastifyInstance): RouteTable {
  const table: RouteTable = { routes: [], undeclared: [] }
  http.addHook('onRoute', (route) => note(table, route))
  return table
}

function note(table: RouteTable, route: RouteOptions): void {
  for (const method of [route.method].flat()) {
    if (method === 'HEAD' || method === 'OPTIONS') continue
    const who = route.config?.who
    if (who === undefined) {
      table.undeclared.push(`${method} ${route.url}`)
      continue
    }
    const { url } = route
    const schema = route.schema as
      | { body?: z.ZodType; querystring?: z.ZodType; response?: Record<string, unknown> }
      | undefined
    table.routes.push({
      method: method as Method,
      url,
      who,
      audit_action: route.config?.audit_action,
      body: membersOf(schema?.body),
      query: membersOf(schema?.querystring),
      answer: schema?.response,
    })
  }
}

function membersOf(schema: z.ZodType | undefined): Readonly<Record<string, z.ZodType>> | undefined {
  if (schema instanceof z.ZodObject) return schema.shape
  if (schema instanceof z.ZodUnion) {
    return Object.assign({}, ...schema.options.map((one) => membersOf(one as z.ZodType) ?? {})) as Record<
      string,
      z.ZodType
    >
  }
  const inner = (schema as { def?: { innerType?: z.ZodType } } | undefined)?.def?.innerType
  return inner === undefined ? undefined : membersOf(inner)
}

/** Parameters that take few words, with one that names nothing yet. */
const WORDS: Readonly<Record<string, string>> = { unit: 'absent', kind: 'adjustment' }

/** A path whose parameters name nothing that exists; well-formed, so that only existence is judged. */
export function absentPath(url: string): string {
  return url.replaceAll(/:(\w+)/g, (_whole, name: string) => WORDS[name] ?? `absent_${name}`)
}
