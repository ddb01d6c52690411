import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { startSmtpEmulator } from '../smtp.ts'
import { startYookassaEmulator } from '../yookassa.ts'
import { openDoor } from './door.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})

const ask = async (base_url: string): Promise<number> => (await fetch(`${base_url}/_emulator`)).status

describe('a door', () => {
  it('lets whoever came early wait, and everybody in once the emulator is there', async () => {
    const door = await openDoor()
    open.push(door)
    let answered = 0
    const early = Array.from({ length: 20 }, async () => {
      const status = await ask(door.base_url)
      answered += 1
      return status
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(answered).toBe(0)
    const emulator = await startYookassaEmulator({ door })
    expect(emulator.base_url).toBe(door.base_url)
    expect(await Promise.all(early)).toEqual(Array(20).fill(200))
    const late = await Promise.all(Array.from({ length: 20 }, () => ask(door.base_url)))
    expect(late).toEqual(Array(20).fill(200))
    await emulator.close()
    await emulator.close()
    await expect(ask(door.base_url)).rejects.toThrow('fetch failed')
  })

  it('survives one who came early and went away', async () => {
    const door = await openDoor()
    open.push(door)
    const gone = connect(Number(new URL(door.base_url).port), '127.0.0.1')
    await new Promise((resolve) => gone.once('connect', resolve))
    gone.write('GET /_emulator HTTP/1.1\r\n')
    gone.resetAndDestroy()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const emulator = await startSmtpEmulator({ door })
    expect(await ask(door.base_url)).toBe(200)
    await emulator.close()
  })

  it('sends away who still waits when it closes, and closes twice', async () => {
    const door = await openDoor()
    const waiting = ask(door.base_url)
    waiting.catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await door.close()
    await door.close()
    await expect(waiting).rejects.toThrow('fetch failed')
  })
})
