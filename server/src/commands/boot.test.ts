import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const MAIN = path.resolve(import.meta.dirname, '../main.ts')
const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-boot-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts the server as an owner would, and answers how it ended and what it said. */
async function start(env: Record<string, string>): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: '0', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString()
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  return { code, said }
}

describe('a start that cannot go on', () => {
  const taken = path.join(folder, 'a file')
  writeFileSync(taken, '')

  it.concurrent('names the settings that are wrong, and leaves nothing running', async () => {
    const data = path.join(folder, 'refused')
    const { code, said } = await start({ KOPILKA_DATA_DIR: data, KOPILKA_MODE: 'live' })
    expect(code).toBe(1)
    expect(said).toContain('KOPILKA_BASE_URL: a live installation needs its https address')
    // The making of the database had begun; it is done again by the next start.
    expect(readdirSync(path.join(data, 'postgres'))).not.toContain('owner.pid')
    const again = await start({ KOPILKA_DATA_DIR: data, KOPILKA_MODE: 'neither' })
    expect(again).toMatchObject({ code: 1, said: expect.stringContaining('KOPILKA_MODE') })
  })

  it.concurrent('says that the data directory cannot be made, and the way out', async () => {
    const { code, said } = await start({ KOPILKA_DATA_DIR: path.join(taken, 'data') })
    expect(code).toBe(1)
    expect(said).toContain('cannot be made (ENOTDIR)')
    expect(said).toContain('name another one')
  })

  it.concurrent('says that the database named does not answer, without its password', async () => {
    const { code, said } = await start({
      KOPILKA_DATA_DIR: path.join(folder, 'elsewhere'),
      DATABASE_URL: 'postgres://somebody:password-of-theirs@127.0.0.1:1/shop',
    })
    expect(code).toBe(1)
    expect(said).toContain('the database does not answer: connect ECONNREFUSED')
    expect(said).toContain('Without DATABASE_URL the embedded one is used.')
    expect(said).not.toContain('password-of-theirs')
  })
})
