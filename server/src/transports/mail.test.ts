import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type CaughtMail, type SmtpEmulator, startSmtpEmulator } from '@kopilka/emulators/smtp'
import { createMailer, type Mailer } from './mail.ts'

let smtp: SmtpEmulator
let mailer: Mailer
beforeAll(async () => {
  smtp = await startSmtpEmulator({ settings: { user: 'shop', password: 'p@ss:word/' } })
  mailer = createMailer({ smtp_url: smtp.smtp_url, from: 'Магазин <no-reply@shop.example>' })
})
afterEach(() => smtp.control.reset())
afterAll(async () => {
  mailer?.close()
  await smtp?.close()
})

const mail = {
  to: 'anna@mail.example',
  subject: 'Подтвердите адрес',
  text: 'Строка\nhttps://shop.example/x?token=reg_a-b_c\n',
  message_id: 'job-1',
}
const caught = (): CaughtMail[] => (smtp.control.objects() as { items: CaughtMail[] }).items

describe('the mail transport', () => {
  test('hands a mail over as it is, signed in', async () => {
    await mailer.send(mail)
    expect(caught()).toMatchObject([
      {
        from: 'no-reply@shop.example',
        to: ['anna@mail.example'],
        subject: mail.subject,
        message_id: '<job-1@shop.example>',
        links: ['https://shop.example/x?token=reg_a-b_c'],
      },
    ])
    expect(caught()[0]?.headers).toContainEqual({ key: 'auto-submitted', value: 'auto-generated' })
  })

  test('a mail that is sent again has the same id', async () => {
    await mailer.send(mail)
    await mailer.send(mail)
    expect(new Set(caught().map(({ message_id }) => message_id)).size).toBe(1)
  })

  test('a line break in an address or a subject adds no recipient and no header', async () => {
    await mailer.send({ ...mail, subject: 'x\r\nBcc: eve@mail.example\r\nX-Evil: 1' })
    expect(caught()[0]?.to).toEqual(['anna@mail.example'])
    expect(caught()[0]?.headers.map(({ key }) => key)).not.toContain('x-evil')
    await mailer
      .send({ ...mail, to: 'anna@mail.example\r\nRCPT TO:<eve@mail.example>' })
      .catch(() => undefined)
    expect(caught().flatMap(({ to }) => to)).not.toContain('eve@mail.example')
  })

  test('fails when the server refuses, and works after it', async () => {
    smtp.control.faults({ error_500: 1 })
    await expect(mailer.send(mail)).rejects.toThrow(/451/)
    expect(caught()).toEqual([])
    await mailer.send(mail)
    expect(caught()).toHaveLength(1)
  })

  test('fails with the wrong password, and when nobody listens', async () => {
    for (const smtp_url of [smtp.smtp_url.replace('shop:', 'nobody:'), 'smtp://127.0.0.1:9']) {
      const other = createMailer({ smtp_url, from: 'a@shop.example' })
      await expect(other.send(mail)).rejects.toThrow()
      other.close()
    }
  })
})
