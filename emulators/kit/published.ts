import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Problem, Spec } from './openapi.ts'

/** How requests of one vendor are read for its published description. */
export interface Published {
  /** Files of the vendor's description; an operation is in one of them. */
  specs: readonly Spec[]
  /** What stands before the description's own paths; empty when absent. */
  prefix?: string
  /** Paths, with `{}` for an id, that the vendor serves and its file lacks: let through, unchecked. */
  unpublished?: readonly string[]
  /** The path in the description's terms, where it is more than the address without its prefix. */
  pathOf?: (request: FastifyRequest) => string
  /** The method in the description's terms: some vendors take a reading one for a posting one. */
  methodOf?: (request: FastifyRequest) => string
  /** Named values of the address, as the description has them. */
  queryOf?: (request: FastifyRequest) => Readonly<Record<string, unknown>>
  /** The body to be checked; `undefined` when the handler has none to check. */
  bodyOf?: (request: FastifyRequest) => unknown
  /** Whether the body is a form: its values are texts. */
  is_form?: boolean
  /** Throws the vendor's refusal of a malformed request. */
  refuse: (problems: readonly Problem[], part: 'query' | 'body') => void
}

const checked = new WeakMap<FastifyRequest, string>()

/** The operation a request was found to be, in the description's terms; `undefined`: it was not checked. */
export function publishedOperation(request: FastifyRequest): string | undefined {
  return checked.get(request)
}

/**
 * Holds every request of this scope against the vendor's published description: one that is no operation of
 * it, or has a value the description does not allow, is refused. So no handler can forget to check, and a
 * test that reaches the vendor's answer has been through here.
 */
export function requirePublished(app: FastifyInstance, published: Published): void {
  const { specs, prefix = '', unpublished = [], refuse } = published
  const isUnpublished = (path: string): boolean =>
    unpublished.some((known) => new RegExp(`^${known.replaceAll('{}', '[^/]+')}$`).test(path))
  app.addHook('preHandler', async (request) => {
    if (request.is404 || request.routeOptions.config.emulator_route !== undefined) return
    const method = published.methodOf?.(request) ?? request.method
    const path = published.pathOf?.(request) ?? (request.url.split('?', 1)[0] ?? '').slice(prefix.length)
    if (isUnpublished(path)) return
    for (const spec of specs) {
      const template = spec.find(method, path)
      if (template === undefined) continue
      const query = published.queryOf?.(request) ?? (request.query as Record<string, unknown>)
      refuse(spec.checkQuery(method, template, query), 'query')
      const body = published.bodyOf?.(request)
      const check = published.is_form ? spec.checkForm : spec.checkBody
      if (body !== undefined) refuse(check(method, template, body), 'body')
      checked.set(request, `${method} ${template}`)
      return
    }
    refuse(
      [{ parameter: '', keyword: 'unpublished', detail: `no such operation: ${method} ${path}` }],
      'query',
    )
  })
}
