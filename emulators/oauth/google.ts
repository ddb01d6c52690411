import type { FastifyInstance } from 'fastify'
import { idToken, jwksOf } from './keys.ts'
import { fieldsOf, takeCode } from './world.ts'
import type { OauthWorld } from './world.ts'

const TOKEN_SECONDS = 3600

/** Discovery, keys and the exchange of codes, as Google answers them. */
export function registerGoogle(app: FastifyInstance, world: OauthWorld): void {
  const { kit, keys } = world
  const issuer = (): string => `${kit.base_url()}/google`
  app.get('/google/.well-known/openid-configuration', () => ({
    issuer: issuer(),
    authorization_endpoint: `${issuer()}/o/oauth2/v2/auth`,
    token_endpoint: `${issuer()}/token`,
    jwks_uri: `${issuer()}/oauth2/v3/certs`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
  }))
  app.get('/google/oauth2/v3/certs', () => jwksOf(keys))
  app.post('/google/token', async (request, reply) => {
    const form = fieldsOf(request.body)
    if (form['client_secret'] !== kit.settings().google_client_secret) {
      return reply.code(401).send({ error: 'invalid_client' })
    }
    const pending = takeCode(world, 'google', form)
    if (typeof pending === 'string') return reply.code(400).send({ error: pending })
    const { person, nonce, client_id } = pending
    const now_s = Math.floor(kit.now().getTime() / 1000)
    const access_token = `ya29.${kit.random.hex(32)}`
    world.tokens.add(access_token, { vendor: 'google', person })
    const id_token = await idToken(keys, kit.settings().lie, {
      iss: issuer(),
      aud: client_id,
      azp: client_id,
      sub: person.id,
      email: person.email,
      email_verified: true,
      name: person.name,
      nonce,
      iat: now_s,
      exp: now_s + TOKEN_SECONDS,
    })
    return {
      access_token,
      expires_in: TOKEN_SECONDS,
      scope: 'openid email profile',
      token_type: 'Bearer',
      id_token,
    }
  })
}
