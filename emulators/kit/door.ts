import { once } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import { createServer, type AddressInfo, type Socket } from 'node:net'

/** An address that is open before the emulator behind it is there: whoever comes early waits. */
export interface Door {
  base_url: string
  /** Hands on who waits and everybody who comes from now on. */
  admit(server: HttpServer): void
  /** Takes nobody any more; who still waits is sent away. May be called twice. */
  close(): Promise<void>
}

/** Opens a free port of this machine. */
export async function openDoor(host = '127.0.0.1'): Promise<Door> {
  const sockets = new Set<Socket>()
  let inside: HttpServer | undefined
  const enter = (socket: Socket): void => {
    inside?.emit('connection', socket)
    socket.resume()
  }
  // As an HTTP server has its connections, but not read before there is somebody to read them.
  const listener = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    if (inside) enter(socket)
  })
  listener.listen(0, host)
  await once(listener, 'listening')
  return {
    base_url: `http://${host}:${(listener.address() as AddressInfo).port}`,
    admit: (server) => {
      inside = server
      for (const socket of sockets) enter(socket)
    },
    close: async () => {
      if (!listener.listening) return
      const closed = once(listener, 'close')
      listener.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
