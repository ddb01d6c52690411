import { z } from 'zod'
import { pageOf, storable, timestamp } from '#http/wire'
import { PASSWORD_MAX } from './passwords.ts'

const email = z.email().max(254).describe('Compared without regard to case.')
/** Any length here: a wrong one is answered like a wrong password, a new one by its own rule. */
const password = z.string().max(PASSWORD_MAX * 4)
const token = z.string().min(1).max(200)
const mode = z
  .enum(['bearer', 'cookie'])
  .default('bearer')
  .describe('bearer answers tokens for apps; cookie signs a browser in and answers a CSRF token.')
const device_id = storable(200)
  .optional()
  .describe('An id the app keeps on its device. A new sign-in of a device ends its earlier session.')
const name = storable(200)
const locale = z.string().regex(/^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$/)

const entry = { mode, device_id }

export const registerBody = z
  .strictObject({ email, password, name: name.optional(), locale: locale.optional(), ...entry })
  .meta({ id: 'Register' })

export const signInBody = z
  .strictObject({
    email: z.string().min(1).max(254),
    password,
    device_token: z.string().max(300).optional().describe('Of an earlier sign-in on this device.'),
    ...entry,
  })
  .meta({ id: 'SignIn' })

export const secondFactorBody = z
  .strictObject({ challenge: token, code: z.string().min(1).max(40) })
  .meta({ id: 'SecondFactorAnswer' })

export const refreshBody = z.strictObject({ refresh_token: token }).meta({ id: 'Refresh' })
export const signOutBody = z
  .strictObject({ refresh_token: token.optional() })
  .prefault({})
  .meta({ id: 'SignOut' })
export const forgotBody = z.strictObject({ email }).meta({ id: 'ForgotPassword' })
export const resetBody = z.strictObject({ token, password }).meta({ id: 'ResetPassword' })
export const mailTokenBody = z.strictObject({ token }).meta({ id: 'MailToken' })

const widget = z
  .record(z.string().max(40), z.union([storable(1000, 0), z.int()]))
  .refine((fields) => Object.keys(fields).length <= 20, 'has more than 20 members')
const telegramProof = {
  init_data: z.string().min(1).max(8192).optional().describe('`Telegram.WebApp.initData`, as it is.'),
  widget: widget.optional().describe('What the Login Widget handed over.'),
}
const isOne = (proof: { init_data?: unknown; widget?: unknown }): boolean =>
  (proof.init_data === undefined) !== (proof.widget === undefined)
const ONE_OF_BOTH = 'needs init_data or widget'

export const telegramBody = z
  .strictObject({ ...telegramProof, ...entry })
  .refine(isOne, ONE_OF_BOTH)
  .meta({ id: 'TelegramSignIn' })
export const telegramLinkBody = z
  .strictObject({ ...telegramProof, device_id })
  .refine(isOne, ONE_OF_BOTH)
  .meta({ id: 'TelegramLink' })
export const startCodeBody = z.strictObject(entry).prefault({}).meta({ id: 'TelegramStartCodeRequest' })
export const claimBody = z.strictObject({ claim_token: token }).meta({ id: 'TelegramClaim' })
export const codeBody = z.strictObject({ code: token }).meta({ id: 'TelegramStartCodeQuestion' })
export const redeemBody = z
  .strictObject({
    code: token,
    telegram_user: z.object({
      id: z.int().min(1),
      first_name: storable(200, 0).default(''),
      last_name: storable(200, 0).nullable().default(null),
      username: storable(64, 0).nullable().default(null),
      language_code: z.string().max(35).nullable().default(null),
    }),
  })
  .meta({ id: 'TelegramStartCodeRedemption' })

export const providerPath = z.object({ provider: z.string().min(1).max(40) })
export const oauthBody = z.strictObject(entry).prefault({}).meta({ id: 'OauthBegin' })
const oauthAnswer = {
  state: token,
  code: z.string().min(1).max(2048),
  device_id: z.string().max(500).optional().describe('VK’s own, as it came with the code.'),
}
export const oauthFinishBody = z
  .strictObject({ ...oauthAnswer, flow_token: token })
  .meta({ id: 'OauthFinish' })
/** What a vendor adds to the address it sends a browser back to. */
export const oauthCallback = z.object({
  ...oauthAnswer,
  code: z.string().max(2048).optional(),
  error: z.string().max(200).optional(),
})

const userFacts = {
  id: z.string(),
  email: z.string().nullable(),
  email_verified_at: timestamp.nullable(),
  name: z.string().nullable(),
  locale: z.string().nullable(),
  customer_id: z.string().nullable(),
  has_password: z.boolean(),
  is_disabled: z.boolean(),
  created_at: timestamp,
}

/** A user as he sees himself. */
export const user = z.object(userFacts).meta({ id: 'User' })

const signedIn = z
  .object({
    status: z.literal('signed_in'),
    user,
    session_id: z.string(),
    token_type: z.literal('Bearer'),
    access_token: z.string().nullable(),
    expires_in: z.int().describe('Seconds the access token, or the cookie’s session, is good for.'),
    refresh_token: z.string().nullable(),
    csrf_token: z
      .string()
      .nullable()
      .describe('Of mode cookie: to be sent as X-CSRF-Token with every change.'),
    device_token: z.string(),
  })
  .meta({ id: 'SignedIn' })
const factorNeeded = z
  .object({ status: z.literal('second_factor_required'), challenge: z.string(), expires_at: timestamp })
  .meta({ id: 'SecondFactorRequired' })
const confirmationSent = z
  .object({ status: z.literal('confirmation_sent'), email: z.string() })
  .meta({ id: 'ConfirmationSent', description: 'Said of known and unknown addresses alike.' })
const waiting = z.object({ status: z.literal('waiting') }).meta({ id: 'WaitingForTelegram' })

export const signInAnswer = z.discriminatedUnion('status', [signedIn, factorNeeded])
export const registerAnswer = z.discriminatedUnion('status', [signedIn, factorNeeded, confirmationSent])
export const claimAnswer = z.discriminatedUnion('status', [signedIn, factorNeeded, waiting])

export const refreshAnswer = z
  .object({
    token_type: z.literal('Bearer'),
    access_token: z.string(),
    expires_in: z.int(),
    refresh_token: z.string(),
    session_id: z.string(),
  })
  .meta({ id: 'Tokens' })
export const done = z.object({ status: z.literal('done') }).meta({ id: 'Done' })
export const accepted = z
  .object({ status: z.literal('accepted') })
  .meta({ id: 'Accepted', description: 'Done if there was something to do; it is not told.' })
export const resetAnswer = z.object({ status: z.literal('done'), device_token: z.string() }).meta({
  id: 'PasswordReset',
  description: 'With the device_token the sign-in that follows is not held up.',
})

export const startCode = z
  .object({
    code: z.string(),
    url: z.string().nullable(),
    expires_at: timestamp,
    claim_token: z.string().nullable(),
  })
  .meta({ id: 'TelegramStartCode' })
export const startCodeFacts = z
  .object({
    purpose: z.enum(['link', 'sign_in']),
    account: z.string().nullable(),
    network: z.string(),
    device_name: z.string().nullable(),
  })
  .meta({ id: 'TelegramStartCodeFacts' })
export const redeemed = z
  .object({ purpose: z.enum(['link', 'sign_in']) })
  .meta({ id: 'TelegramStartCodeRedeemed' })

export const providers = z.object({
  password: z.boolean(),
  telegram: z.object({ bot_id: z.string(), bot_name: z.string().nullable() }).nullable(),
  oauth: z.array(z.object({ id: z.string(), title: z.string() })),
})
export const oauthStart = z
  .object({ authorize_url: z.string(), state: z.string(), flow_token: z.string(), expires_at: timestamp })
  .meta({ id: 'OauthStart' })
export const jwks = z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) })

/** Who is signed in, and what he may do. */
export const me = z
  .object({
    ...userFacts,
    session_id: z.string(),
    permissions: z.array(z.string()),
    needs_second_factor: z.boolean(),
    impersonator_id: z.string().nullable(),
    second_factor: z.object({ is_on: z.boolean(), recovery_codes_left: z.int() }),
  })
  .meta({ id: 'Me' })
export const profileBody = z
  .strictObject({ name: name.nullable().optional(), locale: locale.nullable().optional() })
  .meta({ id: 'ProfileChange' })
export const passwordBody = z
  .strictObject({ current_password: password.optional(), password })
  .meta({ id: 'PasswordChange' })
export const emailBody = z.strictObject({ email, password: password.optional() }).meta({ id: 'EmailChange' })
export const factorCodeBody = z
  .strictObject({ code: z.string().min(1).max(40) })
  .meta({ id: 'SecondFactorCode' })
export const mergeBody = z.strictObject({ merge_token: token }).meta({ id: 'MergeUsers' })
export const idPath = z.object({ id: z.string().min(1).max(60) })

export const session = z
  .object({
    id: z.string(),
    mode: z.enum(['bearer', 'cookie']),
    device_id: z.string().nullable(),
    device_name: z.string().nullable(),
    network: z.string(),
    methods: z.array(z.string()),
    is_current: z.boolean(),
    is_impersonation: z.boolean(),
    created_at: timestamp,
    last_used_at: timestamp,
    expires_at: timestamp,
  })
  .meta({ id: 'Session' })
export const sessionPage = pageOf(session)
export const device = z
  .object({
    device_id: z.string(),
    name: z.string().nullable(),
    first_seen_at: timestamp,
    last_seen_at: timestamp,
  })
  .meta({ id: 'Device' })
export const devicePage = pageOf(device)
export const identity = z
  .object({
    id: z.string(),
    provider: z.enum(['telegram', 'google', 'vk']),
    subject: z.string(),
    created_at: timestamp,
    last_used_at: timestamp,
  })
  .meta({ id: 'Identity' })
export const identityPage = pageOf(identity)
export const ended = z.object({ ended: z.int() }).meta({ id: 'SessionsEnded' })
export const newFactor = z.object({ secret: z.string(), uri: z.string() }).meta({ id: 'NewSecondFactor' })
export const recoveryCodes = z
  .object({ recovery_codes: z.array(z.string()) })
  .meta({ id: 'RecoveryCodes', description: 'Shown once; each is good once in place of a code of the app.' })
export const csrf = z.object({ csrf_token: z.string().nullable() }).meta({ id: 'CsrfToken' })
