import { lookup as systemLookup } from 'node:dns/promises'
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { addressJudge } from './webhook/addresses.ts'

const TIMEOUT_MS = 15_000
const READ_MAX_BYTES = 4096
/** Of a name with more addresses the first ones are tried. */
const ADDRESSES_MAX = 8
const URL_MAX = 2000

/** One message to one address. */
export interface WebhookRequest {
  url: string
  headers: Readonly<Record<string, string>>
  body: string
  /** Gives the request up; the answer is then `aborted`. */
  signal: AbortSignal
}

/**
 * What came of it. `refused`: not sent, since the address is none that may be reached. `failed`:
 * no connection
 * or no HTTP. What the receiver said beyond the status is read by nobody.
 */
export type WebhookResult =
  | { outcome: 'answered'; status_code: number }
  | { outcome: 'failed' | 'timeout' | 'refused' | 'aborted' }

/** Sends messages to addresses that strangers may have chosen. */
export interface WebhookSender {
  /** Whether an address may be tried at all; names are resolved and judged at every sending. */
  isAllowedUrl(url: string): boolean
  /** Never throws. No redirect is followed, no answer beyond 4 KiB is read, 15 s is all it may take. */
  send(request: WebhookRequest): Promise<WebhookResult>
  /** Ends idle connections; there are none between messages. */
  close(): void
}

export interface WebhookSenderOptions {
  /** Plain http to public addresses: for the sandbox. */
  may_use_http: boolean
  /** Networks of the operator's own that may be reached although they are not public; also by plain http. */
  networks: readonly string[]
  /** For tests: another way to find the addresses of a name. */
  resolve?: (host: string) => Promise<readonly string[]>
  timeout_ms?: number
}

/**
 * Makes the sender. Each message gets a connection of its own, to an address that was judged: the name is
 * resolved once, and what was judged is what is connected to, whatever the name says a moment later.
 */
export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { may_use_http, networks, resolve = resolveBySystem, timeout_ms = TIMEOUT_MS } = options
  const judge = addressJudge(networks)
  const agents = { http: new HttpAgent({ keepAlive: false }), https: new HttpsAgent({ keepAlive: false }) }

  const parse = (text: string): URL | undefined => {
    const url = text.length <= URL_MAX ? URL.parse(text) : null
    if (!url || url.username !== '' || url.password !== '' || url.hash !== '') return undefined
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (may_use_http || networks.length > 0)))
      return undefined
    // Below 1024 live mail servers and the like, which take a cleverly made message for their own.
    const port = url.port === '' ? 443 : Number(url.port)
    if (port !== 80 && port !== 443 && port < 1024) return undefined
    const host = hostOf(url)
    return isIP(host) === 0 || isReachable(url, host) ? url : undefined
  }
  const isReachable = (url: URL, address: string): boolean => {
    const verdict = judge(address)
    return verdict === 'allowed' || (verdict === 'public' && (url.protocol === 'https:' || may_use_http))
  }
  /** The judged addresses of a host; none when there is one that may not be reached. */
  const addressesOf = async (url: URL): Promise<string[]> => {
    const host = hostOf(url)
    const found = isIP(host) === 0 ? (await resolve(host)).slice(0, ADDRESSES_MAX) : [host]
    return found.every((address) => isReachable(url, address)) ? found : []
  }

  return {
    isAllowedUrl: (text) => parse(text) !== undefined,
    send: async ({ url: text, headers, body, signal }) => {
      const url = parse(text)
      if (!url) return { outcome: 'refused' }
      const deadline = AbortSignal.timeout(timeout_ms)
      const both = AbortSignal.any([deadline, signal])
      try {
        const addresses = await orAborted(addressesOf(url), both)
        if (addresses.length === 0) return { outcome: 'refused' }
        const is_https = url.protocol === 'https:'
        const request = (is_https ? httpsRequest : httpRequest)(url, {
          method: 'POST',
          agent: is_https ? agents.https : agents.http,
          headers: { ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' },
          lookup: pinned(addresses),
          signal: both,
        })
        return { outcome: 'answered', status_code: await exchange(request, body, both) }
      } catch {
        // Why it failed would tell whoever chose the address about our network.
        if (signal.aborted) return { outcome: 'aborted' }
        return { outcome: deadline.aborted ? 'timeout' : 'failed' }
      }
    },
    close: () => {
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

/** The host as `isIP` knows it: an IPv6 address without its brackets. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

async function resolveBySystem(host: string): Promise<string[]> {
  return (await systemLookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address)
}

/** Hands the judged addresses to the connection instead of asking for the name again. */
function pinned(addresses: readonly string[]): LookupFunction {
  const entries = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_host, { all }, done) => {
    const [first] = entries
    if (first === undefined) done(new Error('there is no address'), '')
    else if (all === true) done(null, entries)
    else done(null, first.address, first.family)
  }
}

/** Resolves with the status; the rest of the answer is read up to its limit and thrown away. */
function exchange(request: ClientRequest, body: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    let has_answer = false
    request.on('error', reject)
    request.once('close', () => {
      if (!has_answer) reject(new Error('the connection ended without an answer'))
    })
    request.once('response', (response: IncomingMessage) => {
      has_answer = true
      const finish = (): void => {
        signal.removeEventListener('abort', finish)
        request.destroy()
        resolve(response.statusCode ?? 0)
      }
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > READ_MAX_BYTES) finish()
      })
      response.on('error', finish)
      response.once('close', finish)
      signal.addEventListener('abort', finish)
    })
    request.end(body)
  })
}

/** The system's resolver cannot be called off, so its answer may come to nobody. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give_up = (): void => reject(new Error('it took too long'))
    if (signal.aborted) give_up()
    signal.addEventListener('abort', give_up, { once: true })
    work.then(resolve, reject)
  })
}
