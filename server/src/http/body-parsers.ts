import { isUtf8 } from 'node:buffer'
import { parse as parseQuery } from 'node:querystring'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errorCodes } from 'fastify'
import { InvalidRequest } from '#kernel/errors'

type Done = (error: Error | null, body?: unknown) => void

/** Deeper JSON than any of ours; what walks a body by recursion must not meet thousands of levels. */
const DEPTH_MAX = 64
const FORM_FIELDS_MAX = 100
const JSON_TYPE = /^application\/json(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?[ \t]*$/i

/**
 * What bodies this server reads: JSON; forms on routes with `config.is_form`; any bytes at all, untouched,
 * on routes with `config.raw_body` (signatures are over bytes). Everything else is 415.
 */
export function addBodyParsers(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    if (keepRaw(request, bytes, done)) return
    const { 'content-type': type, 'content-encoding': encoding } = request.headers
    if ((type !== 'application/json' && !JSON_TYPE.test(type ?? '')) || encoding !== undefined)
      return unsupported(done)
    // No body at all: a route that needs one says which members are missing.
    if (bytes.length === 0) return done(null)
    if (!isUtf8(bytes)) return malformed(done, 'is not UTF-8')
    const text = bytes.toString('utf8')
    if (text.length > DEPTH_MAX * 2 && isDeeperThan(text, DEPTH_MAX))
      return malformed(done, `nests deeper than ${DEPTH_MAX} levels`)
    void parseJson(request, text, done)
  })
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'buffer' },
    (request, bytes: Buffer, done) => {
      if (keepRaw(request, bytes, done)) return
      if (!request.routeOptions.config.is_form) return unsupported(done)
      done(null, { ...parseQuery(bytes.toString('utf8'), '&', '=', { maxKeys: FORM_FIELDS_MAX }) })
    },
  )
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
    if (!keepRaw(request, bytes, done)) unsupported(done)
  })
}

function keepRaw(request: FastifyRequest, bytes: Buffer, done: Done): boolean {
  if (request.routeOptions.config.raw_body !== true) return false
  request.raw_body = bytes
  done(null)
  return true
}

function unsupported(done: Done): void {
  done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE())
}

function malformed(done: Done, detail: string): void {
  done(new InvalidRequest([{ pointer: '', detail }]))
}

const QUOTE = 34
const BACKSLASH = 92

/** Whether JSON text nests deeper than `depth_max`, found without parsing it. */
function isDeeperThan(text: string, depth_max: number): boolean {
  let depth = 0
  let is_inside_string = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) is_inside_string = !is_inside_string
    else if (is_inside_string) {
      if (code === BACKSLASH) at++
      // 91 and 123 open an array and an object, 93 and 125 close them: both pairs differ in the bits 0x20
      // only.
    } else if ((code | 0x20) === 123) {
      if (++depth > depth_max) return true
    } else if ((code | 0x20) === 125) depth--
  }
  return false
}
