import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto'

/** Plays Telegram's side of its signed proofs, with a bot and a key pair made up here. */
export interface TelegramSigner {
  bot_token: string
  /** Raw, in hex. */
  public_key: string
  /** `initData` as a Mini App gets it. `change` sees the fields before they are signed. */
  initData(user: object, auth_date: Date, change?: (fields: Map<string, string>) => void): string
  /** What the Login Widget hands over. */
  widget(fields: Readonly<Record<string, string | number>>): Record<string, string | number>
}

/** Makes a bot. */
export function telegramSigner(bot_id = '1234567890'): TelegramSigner {
  const bot_token = `${bot_id}:AAE-made_up_for_tests_0123456789ABCDEFG`
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const der = publicKey.export({ format: 'der', type: 'spki' })
  const checkString = (fields: ReadonlyMap<string, string>): string =>
    [...fields]
      .map(([name, value]) => `${name}=${value}`)
      .toSorted()
      .join('\n')
  return {
    bot_token,
    public_key: der.subarray(-32).toString('hex'),
    initData: (user, auth_date, change) => {
      const fields = new Map([
        ['user', JSON.stringify(user)],
        ['chat_instance', '-8134722200314281151'],
        ['auth_date', String(Math.floor(auth_date.getTime() / 1000))],
      ])
      change?.(fields)
      const message = Buffer.from(`${bot_id}:WebAppData\n${checkString(fields)}`)
      fields.set('signature', sign(null, message, privateKey).toString('base64url'))
      const secret = createHmac('sha256', 'WebAppData').update(bot_token).digest()
      fields.set('hash', createHmac('sha256', secret).update(checkString(fields)).digest('hex'))
      return new URLSearchParams([...fields]).toString()
    },
    widget: (given) => {
      const fields = new Map(Object.entries(given).map(([name, value]) => [name, String(value)]))
      const secret = createHash('sha256').update(bot_token).digest()
      return { ...given, hash: createHmac('sha256', secret).update(checkString(fields)).digest('hex') }
    },
  }
}
