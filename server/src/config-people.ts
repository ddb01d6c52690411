import { z } from 'zod'
import type { PeopleAppSettings } from './app-people.ts'
import type { Setting } from './config.ts'

function setting<T>(env: string, schema: z.ZodType<T>, about: string, is_secret = false): Setting<T> {
  return { env, schema, about, is_secret }
}

const text = z.string().min(1).max(500).optional()
const BOT_TOKEN = /^\d{3,20}:[\w-]{20,100}$/

/** Settings about people who sign in: part of every setting there is. */
export const PEOPLE_SETTINGS = {
  smtp_url: setting(
    'KOPILKA_SMTP_URL',
    z.url({ protocol: /^smtps?$/ }).optional(),
    'Where mails are handed over, e.g. smtps://user:password@mail.example:465; without it none are sent.',
    true,
  ),
  mail_from: setting(
    'KOPILKA_MAIL_FROM',
    z
      .string()
      .regex(/^(?:[^<>\r\n]{1,100} )?<?[^\s<>@]+@[\w.-]+>?$/, 'must be an address, or a name with <address>')
      .optional(),
    'Whom mails come from, e.g. Shop <no-reply@shop.example>.',
  ),
  registration: setting(
    'KOPILKA_REGISTRATION',
    z.enum(['confirmed', 'immediate']).optional(),
    'confirmed makes a user when the link in his mail is followed; immediate at once. With mail: confirmed.',
  ),
  staff_second_factor: setting(
    'KOPILKA_STAFF_SECOND_FACTOR',
    z.enum(['optional', 'required']).default('optional'),
    'required: staff have no permission until they signed in with a second factor.',
  ),
  breached_passwords_file: setting(
    'KOPILKA_BREACHED_PASSWORDS_FILE',
    text,
    'A list of passwords, or their SHA-1 digests, that nobody may choose: one a line.',
  ),
  telegram_bot_token: setting(
    'KOPILKA_TELEGRAM_BOT_TOKEN',
    z.string().regex(BOT_TOKEN, 'must be a token as BotFather gives it').optional(),
    'The bot whose Mini App and Login Widget people sign in by.',
    true,
  ),
  telegram_bot_name: setting(
    'KOPILKA_TELEGRAM_BOT_NAME',
    z
      .string()
      .regex(/^\w{5,32}$/, 'must be the name without the @')
      .optional(),
    'Its name without the @, for links that start it.',
  ),
  telegram_public_key: setting(
    'KOPILKA_TELEGRAM_PUBLIC_KEY',
    z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')
      .optional(),
    'The key Telegram signs with; another one than usual only in its test environment.',
  ),
  google_client_id: setting('KOPILKA_GOOGLE_CLIENT_ID', text, 'Sign-in by Google: the id of the client.'),
  google_client_secret: setting('KOPILKA_GOOGLE_CLIENT_SECRET', text, 'Its secret.', true),
  google_redirect_uri: setting(
    'KOPILKA_GOOGLE_REDIRECT_URI',
    z.url().optional(),
    'Where Google sends people back to; else /auth/callback/google of this server.',
  ),
  vk_client_id: setting('KOPILKA_VK_CLIENT_ID', text, 'Sign-in by VK ID: the id of the app.'),
  vk_redirect_uri: setting(
    'KOPILKA_VK_REDIRECT_URI',
    z.url().optional(),
    'Where VK sends people back to; else /auth/callback/vk of this server.',
  ),
} as const

type Values = { [Name in keyof typeof PEOPLE_SETTINGS]: z.output<(typeof PEOPLE_SETTINGS)[Name]['schema']> }

/** Every secret among these settings, by value. */
export function peopleSecrets(values: Values): string[] {
  const password = values.smtp_url === undefined ? '' : decodeURIComponent(new URL(values.smtp_url).password)
  return [password, values.telegram_bot_token ?? '', values.google_client_secret ?? '']
}

/** What is allowed by itself and wrong together. */
export function peopleContradictions(values: Values & { base_url?: string | undefined }): string[] {
  const problems: string[] = []
  if ((values.smtp_url === undefined) !== (values.mail_from === undefined)) {
    problems.push('KOPILKA_MAIL_FROM: needs KOPILKA_SMTP_URL, and the other way round.')
  }
  if (values.registration === 'confirmed' && values.smtp_url === undefined) {
    problems.push('KOPILKA_REGISTRATION: confirmed needs KOPILKA_SMTP_URL, or nobody can sign up.')
  }
  if ((values.google_client_id === undefined) !== (values.google_client_secret === undefined)) {
    problems.push('KOPILKA_GOOGLE_CLIENT_SECRET: needs KOPILKA_GOOGLE_CLIENT_ID, and the other way round.')
  }
  for (const vendor of ['google', 'vk'] as const) {
    const is_asked = values[`${vendor}_client_id`] !== undefined
    if (is_asked && values[`${vendor}_redirect_uri`] === undefined && values.base_url === undefined) {
      problems.push(`KOPILKA_${vendor.toUpperCase()}_REDIRECT_URI: needed without KOPILKA_BASE_URL.`)
    }
  }
  return problems
}

/** The settings as the program takes them. */
export function peopleSettings(values: Values & { base_url?: string | undefined }): PeopleAppSettings {
  const { smtp_url, mail_from, telegram_bot_token, google_client_id, google_client_secret, vk_client_id } =
    values
  const base_url = values.base_url ?? ''
  return {
    mail: smtp_url !== undefined && mail_from !== undefined ? { smtp_url, from: mail_from } : undefined,
    registration: values.registration,
    staff_second_factor: values.staff_second_factor,
    breached_passwords_file: values.breached_passwords_file,
    telegram:
      telegram_bot_token === undefined
        ? undefined
        : {
            bot_token: telegram_bot_token,
            bot_name: values.telegram_bot_name,
            public_key: values.telegram_public_key,
          },
    google:
      google_client_id === undefined || google_client_secret === undefined
        ? undefined
        : {
            client_id: google_client_id,
            client_secret: google_client_secret,
            redirect_uri: values.google_redirect_uri ?? `${base_url}/auth/callback/google`,
          },
    vk:
      vk_client_id === undefined
        ? undefined
        : { client_id: vk_client_id, redirect_uri: values.vk_redirect_uri ?? `${base_url}/auth/callback/vk` },
  }
}
