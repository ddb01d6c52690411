import { setTimeout as sleep } from 'node:timers/promises'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from './embedded-postgres.ts'

const AGAIN_MS = 1_000

/** A server that is started again whenever it ends unasked, at the same address. */
export interface KeptPostgres {
  url: string
  stop(): Promise<void>
}

/** What the keeper has to tell. */
export interface KeeperNotices {
  /** The server ended by itself, or somebody ended it; `log` is the end of what it wrote. */
  ended: (log: string) => void
  /** It could not be started now; tried again in a second. */
  failed: (error: unknown) => void
}

/**
 * Starts the embedded PostgreSQL and keeps it running: a server that was killed, by a person or for want of
 * memory, comes back by itself, with everything that was committed. Meanwhile requests are answered 503.
 * One that belongs to another process is that process's to keep. Throws as `startEmbeddedPostgres` does, for
 * the first start only.
 */
export async function keepEmbeddedPostgres(
  options: Omit<EmbeddedPostgresOptions, 'on_exit'>,
  notices: KeeperNotices,
): Promise<KeptPostgres> {
  let is_stopping = false
  let { port } = options
  const start = async (): Promise<Kept> => {
    const end = Promise.withResolvers<string>()
    const given = port === undefined ? {} : { port }
    const server = await startEmbeddedPostgres({ ...options, ...given, on_exit: end.resolve })
    return { server, ended: end.promise }
  }
  const first = await start()
  const { url } = first.server
  // Whoever is connected knows this address and no other.
  port = portOf(first.server)
  let starting: Promise<Kept | undefined> = Promise.resolve(first)
  const startAgain = async (): Promise<Kept | undefined> => {
    while (!is_stopping) {
      try {
        const kept = await start()
        if (portOf(kept.server) === port) return kept
        // Another process was quicker and serves this directory at another address, until it ends.
      } catch (error) {
        notices.failed(error)
      }
      await sleep(AGAIN_MS)
    }
    return undefined
  }
  const keep = async (): Promise<void> => {
    for (let current: Kept | undefined = first; current; current = await starting) {
      notices.ended(await current.ended)
      starting = startAgain()
    }
  }
  void keep()
  return {
    url,
    stop: async () => {
      is_stopping = true
      // A start under way is waited for: what it starts has to be stopped too.
      await (await starting)?.server.stop()
    },
  }
}

interface Kept {
  server: EmbeddedPostgres
  /** Fulfilled when it ended unasked, with the end of its log. */
  ended: Promise<string>
}

function portOf({ url }: EmbeddedPostgres): number {
  return Number(new URL(url).port)
}
