import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** A browser without a window, for looking at pages as a person's browser would. */
export interface Chromium {
  /** Opens a page, waits until it is loaded, and answers the value of an expression in it. */
  evaluate<T>(url: string, expression: string, headers?: Readonly<Record<string, string>>): Promise<T>
  close(): Promise<void>
}

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Where this machine's browser is; undefined when there is none. */
export function findChromium(): string | undefined {
  return NAMES.map((name) => spawnSync('which', [name], { encoding: 'utf8' }).stdout?.trim()).find(Boolean)
}

/** Starts the browser, with a profile of its own that goes with it. */
export async function startChromium(program: string): Promise<Chromium> {
  const profile = mkdtempSync(path.join(tmpdir(), 'kopilka-chromium-'))
  const child = spawn(
    program,
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const browser = await addressOf(child)
  const { host } = new URL(browser)
  return {
    evaluate: (url, expression, headers = {}) => look(`http://${host}`, { url, expression, headers }),
    close: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
}

/** The browser says on its standard error where it listens. */
function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stderr?.on('data', (part: Buffer) => {
      text += part.toString()
      const address = /DevTools listening on (ws:\/\/\S+)/.exec(text)?.[1]
      if (address !== undefined) resolve(address)
    })
    child.once('exit', () => reject(new Error(`the browser ended: ${text.slice(-500)}`)))
    child.once('error', reject)
  })
}

interface Answer {
  id?: number
  method?: string
  result?: { result?: { value?: unknown }; exceptionDetails?: object }
  error?: { message: string }
}

async function look<T>(
  debugger_url: string,
  {
    url,
    expression,
    headers,
  }: { url: string; expression: string; headers: Readonly<Record<string, string>> },
): Promise<T> {
  const made = await fetch(`${debugger_url}/json/new?about:blank`, { method: 'PUT' })
  const { webSocketDebuggerUrl } = (await made.json()) as { webSocketDebuggerUrl: string }
  const socket = new WebSocket(webSocketDebuggerUrl)
  try {
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', reject)
    })
    let last_id = 0
    const waiting = new Map<number, (answer: Answer) => void>()
    let loaded: () => void = () => undefined
    const is_loaded = new Promise<void>((resolve) => (loaded = resolve))
    socket.addEventListener('message', (message) => {
      const answer = JSON.parse(String(message.data)) as Answer
      if (answer.id !== undefined) waiting.get(answer.id)?.(answer)
      if (answer.method === 'Page.loadEventFired') loaded()
    })
    const send = (method: string, params: object = {}): Promise<Answer> =>
      new Promise((resolve) => {
        last_id += 1
        waiting.set(last_id, resolve)
        socket.send(JSON.stringify({ id: last_id, method, params }))
      })
    await send('Network.enable')
    await send('Network.setExtraHTTPHeaders', { headers })
    await send('Page.enable')
    await send('Page.navigate', { url })
    await is_loaded
    const { result, error } = await send('Runtime.evaluate', { expression, returnByValue: true })
    if (error !== undefined || result?.exceptionDetails !== undefined)
      throw new Error(`the page did not answer: ${JSON.stringify(error ?? result)}`)
    return result?.result?.value as T
  } finally {
    socket.close()
  }
}
