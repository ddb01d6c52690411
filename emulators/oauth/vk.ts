import type { FastifyInstance } from 'fastify'
import { fieldsOf, takeCode } from './world.ts'
import type { OauthWorld } from './world.ts'

/** The exchange of codes and who somebody is, as VK ID answers them: refusals come with status 200. */
export function registerVk(app: FastifyInstance, world: OauthWorld): void {
  const { kit } = world
  app.post('/vk/oauth2/auth', async (request) => {
    const form = fieldsOf(request.body)
    const wanted = world.codes.get(form['code'] ?? '')
    const pending = takeCode(world, 'vk', form)
    if (typeof pending === 'string') return { error: pending, error_description: 'The code is not valid.' }
    if (form['device_id'] !== wanted?.device_id) {
      return { error: 'invalid_request', error_description: 'device_id is another one.' }
    }
    const access_token = `vk2.a.${kit.random.hex(32)}`
    world.tokens.add(access_token, { vendor: 'vk', person: pending.person })
    return {
      access_token,
      refresh_token: `vk2.r.${kit.random.hex(32)}`,
      token_type: 'Bearer',
      expires_in: 3600,
      user_id: Number(pending.person.id),
      state: form['state'] ?? '',
      scope: 'vkid.personal_info email',
    }
  })
  app.post('/vk/oauth2/user_info', async (request) => {
    const form = fieldsOf(request.body)
    const token = world.tokens.get(form['access_token'] ?? '')
    if (!token || token.vendor !== 'vk' || form['client_id'] !== kit.settings().vk_client_id) {
      return { error: 'invalid_token', error_description: 'The token is not valid.' }
    }
    const { id, name, email } = token.person
    const [first_name = '', ...rest] = name.split(' ')
    return { user: { user_id: id, first_name, last_name: rest.join(' '), email, verified: false } }
  })
}
