import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** One thing written, as streams hand it over. */
interface Chunk {
  chunk: Uint8Array | string
  encoding: BufferEncoding
}

type Written = (error?: Error | null) => void

/** What may wait for the end of a turn; beyond it the writer waits for the other side, as always. */
const WAITING_MAX_BYTES = 64 * 1024

/**
 * Sends the answers to pipelined requests together: those ready in one turn of the event loop cost one system
 * call, not one each, which is most of what a short answer costs. A connection whose client waits for each
 * answer is left as Node makes it.
 */
export function gatherPipelinedAnswers(server: Server): void {
  const gathered = new WeakSet<Socket>()
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    // An answer without a connection stands behind another one's that is not sent yet.
    if (response.socket !== null || gathered.has(request.socket)) return
    gathered.add(request.socket)
    gatherWrites(request.socket)
  })
}

/** Makes a socket hold what is written to it until the turn ends; it ends and breaks as it did before. */
function gatherWrites(socket: Socket): void {
  const { _write, _writev, _final, _destroy } = socket
  let waiting: Chunk[] = []
  let waiting_bytes = 0
  let is_sending = false
  // Whoever writes to a reader that is slow, or very much in one turn, goes on when that has left.
  let held: Written | undefined
  const sent: Written = (error) => {
    is_sending = false
    if (!error) send()
    if (is_sending) return
    const next = held
    held = undefined
    if (next) next(error)
    else if (error) socket.destroy(error)
  }
  const send = (): void => {
    const [first] = waiting
    if (is_sending || first === undefined) return
    const chunks = waiting
    waiting = []
    waiting_bytes = 0
    is_sending = true
    if (chunks.length === 1) _write.call(socket, first.chunk, first.encoding, sent)
    else _writev?.call(socket, chunks, sent)
  }
  const hold = (chunk: Chunk): void => {
    if (waiting.length === 0) setImmediate(send)
    waiting.push(chunk)
    waiting_bytes += chunk.chunk.length
  }
  const goOn = (written: Written): void => {
    if (!is_sending && waiting_bytes < WAITING_MAX_BYTES) {
      written()
      return
    }
    held = written
    send()
  }
  socket._write = (chunk: Uint8Array | string, encoding, written) => {
    hold({ chunk, encoding })
    goOn(written)
  }
  socket._writev = (chunks: Chunk[], written) => {
    for (const chunk of chunks) hold(chunk)
    goOn(written)
  }
  socket._final = (done) => {
    send()
    _final.call(socket, done)
  }
  socket._destroy = (error, done) => {
    send()
    _destroy.call(socket, error, done)
  }
}
