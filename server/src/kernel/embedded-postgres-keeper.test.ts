import { readFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { embeddedLab, isRunning, query } from '../../test/embedded-lab.ts'
import { keepEmbeddedPostgres, type KeptPostgres } from './embedded-postgres-keeper.ts'

const WAIT = { timeout: 20_000, interval: 20 }

const { common } = embeddedLab()
let kept: KeptPostgres | undefined
afterEach(() => kept?.stop())

const serverPid = (): number =>
  Number(readFileSync(path.join(common, 'cluster', 'postmaster.pid'), 'utf8').split('\n', 1)[0])

describe('a kept server', () => {
  test('comes back at the same address with all that was committed when it is killed', async () => {
    const ended: string[] = []
    const options = { data_directory: common, flags: ['fsync=off'] }
    kept = await keepEmbeddedPostgres(options, {
      ended: (log) => ended.push(log),
      failed: (error) => ended.push(String(error)),
    })
    const { url } = kept
    await query(url, 'create table kept (n int)')
    for (const n of [1, 2]) {
      await query(url, `insert into kept values (${n})`)
      const pid = serverPid()
      process.kill(pid, 'SIGKILL')
      await expect.poll(() => isRunning(pid), WAIT).toBe(false)
      const rows = (): Promise<unknown[]> => query(url, 'select n from kept').catch(() => [])
      await expect.poll(rows, WAIT).toHaveLength(n)
    }
    expect(ended).toHaveLength(2)
    const last = serverPid()
    await kept.stop()
    expect(isRunning(last)).toBe(false)
    expect(ended).toHaveLength(2)
  })

  test('ends when it is told to while it is being started again', async () => {
    kept = await keepEmbeddedPostgres(
      { data_directory: common, flags: ['fsync=off'] },
      { ended: () => undefined, failed: () => undefined },
    )
    const pid = serverPid()
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => isRunning(pid), WAIT).toBe(false)
    await kept.stop()
    await expect(query(kept.url, 'select 1')).rejects.toThrow(/ECONNREFUSED/)
  })
})
