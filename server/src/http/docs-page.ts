import { gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import { PAGE_HEADERS } from './security-headers.ts'

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kopilka API</title>
</head>
<body>
<div id="app"></div>
<script src="/docs/reference.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`

/** Nothing leaves the page: no foreign fonts, no proxy, no telemetry, no assistant. */
const START = `Scalar.createApiReference('#app', {
  url: '/openapi.json',
  theme: 'default',
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  showDeveloperTools: 'never',
  agent: { disabled: true },
  mcp: { disabled: true },
  defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
  metaData: { title: 'Kopilka API' },
})
`

/**
 * Scripts come from here only. Of styles a nonce would cover the big sheet, but not the small ones the
 * script puts in beside it (seen in Chromium: eight violations), so styles alone may be inline.
 */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; " +
  "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** `/docs`: the interface for people to read and try. Works without any network but this server. */
export function addDocsPage(app: FastifyInstance): void {
  const open = { config: { who: { anonymous: true } }, schema: { hide: true } } as const
  app.get('/docs', open, (_request, reply) => {
    reply
      .headers(PAGE_HEADERS)
      .header('content-security-policy', POLICY)
      .type('text/html; charset=utf-8')
      .send(PAGE)
  })
  app.get('/docs/start.js', open, (_request, reply) => {
    reply.type('text/javascript; charset=utf-8').header('cache-control', 'public, max-age=3600').send(START)
  })
  let script: Promise<{ plain: Buffer; packed: Buffer }> | undefined
  app.get('/docs/reference.js', open, async (request, reply) => {
    script ??= readScript()
    const { plain, packed } = await script
    reply
      .type('text/javascript; charset=utf-8')
      .header('cache-control', 'public, max-age=86400')
      .header('vary', 'accept-encoding')
    const takes_gzip = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
    return takes_gzip ? reply.header('content-encoding', 'gzip').send(packed) : reply.send(plain)
  })
}

/**
 * The reference's browser script. Its package holds it as a text of several megabytes inside a Fastify
 * plugin, whose loading takes 0.3 s: it is loaded when somebody first opens the page, in a server of its
 * own that never listens.
 */
async function readScript(): Promise<{ plain: Buffer; packed: Buffer }> {
  const { default: reference } = await import('@scalar/fastify-api-reference')
  const inner = Fastify()
  await inner.register(reference, { routePrefix: '/docs', configuration: { url: '/openapi.json' } })
  const answer = await inner.inject('/docs/js/scalar.js')
  await inner.close()
  return { plain: answer.rawPayload, packed: gzipSync(answer.rawPayload) }
}
