import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PASSWORD, type PeopleWorld, startPeopleWorld, type Tokens } from '../../../test/people-world.ts'

let world: PeopleWorld
beforeAll(async () => {
  world = await startPeopleWorld()
})
afterAll(() => world?.close())

const login = (body: object, ip?: string) =>
  world.send<Tokens & { code: string }>('POST', '/v1/auth/login', {
    body,
    ...(ip === undefined ? {} : { ip }),
  })

describe('signing up and in by e-mail', () => {
  test('makes a user with a customer of his own, and his token opens what is his', async () => {
    const person = await world.person()
    expect(person.customer_id).toMatch(/^cus_/)
    const me = await world.send('GET', '/v1/me', { token: person.access_token })
    expect(me.status).toBe(200)
    expect(me.body).toMatchObject({ id: person.id, email: person.email, permissions: [] })
  })

  test('signs in with the right password, in any case of the address', async () => {
    const person = await world.person()
    const answer = await login({ email: ` ${person.email.toUpperCase()} `, password: person.password })
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ status: 'signed_in', user: { id: person.id } })
  })

  test('answers a wrong password and an unknown address alike, word for word', async () => {
    const person = await world.person()
    const wrong = await login({ email: person.email, password: `${PASSWORD}!` })
    const unknown = await login({ email: `x${person.email}`, password: PASSWORD })
    expect(wrong.status).toBe(401)
    const strip = (text: string): string => text.replaceAll(/req_\w+/g, '')
    expect(strip(unknown.text)).toBe(strip(wrong.text))
    expect(Object.keys(unknown.headers).toSorted()).toEqual(Object.keys(wrong.headers).toSorted())
  })
})
