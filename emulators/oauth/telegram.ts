import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { fieldsOf } from './world.ts'
import type { OauthWorld } from './world.ts'

/** What Telegram signs Mini Apps' data with; made anew at every start. */
export interface TelegramKeys {
  private_key: KeyObject
  /** Raw, in hex. */
  public_key: string
}

/** Makes Telegram's keys. */
export function makeTelegramKeys(): TelegramKeys {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const der = publicKey.export({ format: 'der', type: 'spki' })
  return { private_key: privateKey, public_key: der.subarray(-32).toString('hex') }
}

/** `initData` of a Mini App as Telegram hands it over, for anybody who asks: `?id=&first_name=&username=`. */
export function registerTelegram(app: FastifyInstance, world: OauthWorld): void {
  const config = { emulator_route: 'page' as const }
  app.get('/telegram/public_key', { config }, () => ({ public_key: world.telegram.public_key }))
  app.get('/telegram/init_data', { config }, async (request, reply) => {
    const {
      id = '777000111',
      first_name = 'Anna',
      username = 'anna_test',
      language_code = 'ru',
    } = fieldsOf(request.query)
    if (!/^[1-9]\d{0,15}$/.test(id)) return reply.code(400).send({ error: 'id' })
    const user = { id: Number(id), first_name, username, language_code }
    return { init_data: initDataOf(world, user) }
  })
}

function initDataOf({ kit, telegram }: OauthWorld, user: object): string {
  const { telegram_bot_token } = kit.settings()
  const [bot_id = ''] = telegram_bot_token.split(':')
  const fields = new Map([
    ['auth_date', String(Math.floor(kit.now().getTime() / 1000))],
    ['chat_instance', '-8134722200314281151'],
    ['user', JSON.stringify(user)],
  ])
  const message = `${bot_id}:WebAppData\n${checkString(fields)}`
  fields.set('signature', sign(null, Buffer.from(message), telegram.private_key).toString('base64url'))
  const secret = createHmac('sha256', 'WebAppData').update(telegram_bot_token).digest()
  fields.set('hash', createHmac('sha256', secret).update(checkString(fields)).digest('hex'))
  return new URLSearchParams([...fields]).toString()
}

function checkString(fields: ReadonlyMap<string, string>): string {
  return [...fields]
    .map(([name, value]) => `${name}=${value}`)
    .toSorted()
    .join('\n')
}
