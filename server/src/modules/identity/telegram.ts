import { createHash } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Db, Sql, Tx } from '#kernel/db'
import { assert } from '#kernel/errors'
import type { ProvedIdentity } from './identities.ts'
import { linkIdentity, linkInTx, signInWithIdentity, taken, type Identity } from './identities.ts'
import { ProofInvalid, SignInNotOffered, VendorProofInvalid } from './people-errors.ts'
import type { Client, PeopleKit, TelegramSettings } from './people-kit.ts'
import { findProofAsItIs, insertProof, updateProofFacts } from './proof-queries.ts'
import { createProof, getProof, PROOFS, useProof } from './proofs.ts'
import { digestOf, newToken } from './secret-token.ts'
import type { SessionMode } from './sessions.ts'
import type { SignInOutcome } from './sign-in.ts'
import {
  checkInitData,
  checkLoginWidget,
  type TelegramPerson,
  type TelegramVerdict,
} from './telegram-proof.ts'
import { getUserRow } from './users.ts'
import { countBegun, countPoll, withProof } from './vendor-limits.ts'

/** What a page or a Mini App hands over: one of the two. */
export type TelegramProof = { init_data: string } | { widget: Readonly<Record<string, string | number>> }

/**
 * Lets somebody in whom Telegram vouches for. Telegram re-sends the same initData for as long as a Mini App
 * is open, so it may come again from the device (or, without an id of it, the network) that used it first,
 * and from nowhere else; what the Login Widget gives works once. Throws VendorProofInvalid, SignInNotOffered,
 * UserDisabled, TooManyRequests.
 */
export async function signInWithTelegram(
  db: Db,
  kit: PeopleKit,
  input: { proof: TelegramProof; mode: SessionMode; client: Client },
): Promise<SignInOutcome> {
  const { proof, mode, client } = input
  const telegram = settingsOf(kit)
  return withProof(kit, client.network, async () =>
    signInWithIdentity(db, kit, {
      identity: identityOf(provedPerson(kit, telegram, proof)),
      mode,
      client,
      check: (tx) => useVendorProof(tx, kit.clock, proof, client),
    }),
  )
}

/**
 * Links Telegram to a signed-in user. Throws VendorProofInvalid, SignInNotOffered, IdentityTaken,
 * TooManyRequests.
 */
export async function linkTelegram(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; proof: TelegramProof; client: Client },
): Promise<Identity> {
  const telegram = settingsOf(kit)
  return withProof(kit, input.client.network, async () =>
    linkIdentity(db, kit, {
      user_id: input.user_id,
      identity: identityOf(provedPerson(kit, telegram, input.proof)),
      check: (tx) => useVendorProof(tx, kit.clock, input.proof, input.client),
    }),
  )
}

/** What a code for the bot's start is for. */
export type StartPurpose = 'link' | 'sign_in'

export interface StartCode {
  code: string
  url: string | null
  expires_at: Date
  /** Of `sign_in`: what the page that asked keeps, to fetch its session with. */
  claim_token: string | null
}

interface StartFacts {
  purpose: StartPurpose
  /** Of `sign_in`: where the page that asked runs, shown before the person agrees. */
  client: Client
  mode: SessionMode
  claim_digest: string | null
}

/**
 * Makes a code that links Telegram to a user, or lets a page in, when the bot is started with it: 256 bits,
 * one use, ten minutes. Throws SignInNotOffered without a bot, TooManyRequests.
 */
export async function createStartCode(
  db: Db,
  kit: PeopleKit,
  input:
    | { purpose: 'link'; user_id: string; client: Client }
    | { purpose: 'sign_in'; mode: SessionMode; client: Client },
): Promise<StartCode> {
  const { bot_name } = settingsOf(kit)
  await countBegun(kit, input.client.network)
  const code = await db.transact((tx) => insertStartCode(tx, kit, input))
  const url = bot_name === undefined ? null : `https://t.me/${bot_name}?start=${code.code}`
  return { ...code, url }
}

async function insertStartCode(
  tx: Tx,
  kit: PeopleKit,
  input: Parameters<typeof createStartCode>[2],
): Promise<Omit<StartCode, 'url'>> {
  const claim = input.purpose === 'sign_in' ? newToken(PROOFS.telegram_claim.word) : undefined
  const facts: StartFacts = {
    purpose: input.purpose,
    client: input.client,
    mode: input.purpose === 'sign_in' ? input.mode : 'bearer',
    claim_digest: claim?.digest.toString('base64url') ?? null,
  }
  const user_id = input.purpose === 'link' ? input.user_id : null
  const { token, expires_at } = await createProof(tx, kit.clock, {
    kind: PROOFS.telegram_start,
    user_id,
    facts,
  })
  if (claim) {
    await createProof(tx, kit.clock, {
      kind: PROOFS.telegram_claim,
      token: claim.token,
      facts: { user_id: null, ...facts },
    })
  }
  return { code: token, expires_at, claim_token: claim?.token ?? null }
}

/**
 * What the bot shows before a person agrees: for whom and from where a code was asked. Throws ProofInvalid.
 */
export async function describeStartCode(
  sql: Sql,
  clock: Clock,
  code: string,
): Promise<{ purpose: StartPurpose; account: string | null; network: string; device_name: string | null }> {
  const { facts, user_id } = await getProof(sql, clock, PROOFS.telegram_start, code)
  const { purpose, client } = facts as StartFacts
  const user = user_id === null ? undefined : await getUserRow(sql, user_id)
  const account = user === undefined ? null : (masked(user.email) ?? user.name)
  return { purpose, account, network: client.network, device_name: client.device_name ?? null }
}

/**
 * Uses a code up for the person who started the bot and agreed. The caller is the bot, which Telegram told
 * who that is.
 * Throws ProofInvalid; IdentityTaken when the Telegram account is another user's.
 */
export async function redeemStartCode(
  db: Db,
  kit: PeopleKit,
  input: { code: string; person: Omit<TelegramPerson, 'auth_date' | 'start_param' | 'photo_url'> },
): Promise<{ purpose: StartPurpose }> {
  const identity = identityOf({ ...input.person, photo_url: null })
  const outcome = await db.transact(async (tx) => {
    const { facts, user_id } = await useProof(tx, kit.clock, PROOFS.telegram_start, input.code)
    const start = facts as StartFacts
    if (start.purpose === 'link') {
      const linked = await linkInTx(tx, kit, { user_id: user_id ?? '', identity })
      return 'merge_token' in linked ? linked : { purpose: start.purpose }
    }
    const digest = Buffer.from(start.claim_digest ?? '', 'base64url')
    const is_waiting = await updateProofFacts(tx, {
      digest,
      kind: PROOFS.telegram_claim.name,
      now: kit.clock.now(),
      facts: { ...start, identity },
    })
    if (!is_waiting) throw new ProofInvalid('The page that asked does not wait any more.')
    return { purpose: start.purpose }
  })
  // The bot must not hand a merge token to whoever started it: the user asks for it in his own session.
  if ('merge_token' in outcome) throw taken()
  return outcome
}

/**
 * Answers the page that asked for a sign-in by the bot: `undefined` while the person has not agreed yet.
 * Throws ProofInvalid when it is too old or was fetched; TooManyRequests.
 */
export async function claimStartCode(
  db: Db,
  kit: PeopleKit,
  input: { claim_token: string; network: string },
): Promise<SignInOutcome | undefined> {
  const { claim_token, network } = input
  await countPoll(kit, network)
  const { facts } = await getProof(db, kit.clock, PROOFS.telegram_claim, claim_token)
  const { identity, mode, client } = facts as StartFacts & { identity?: ProvedIdentity }
  if (identity === undefined) return undefined
  return signInWithIdentity(db, kit, {
    identity,
    mode,
    client,
    check: async (tx) => void (await useProof(tx, kit.clock, PROOFS.telegram_claim, claim_token)),
  })
}

function provedPerson(kit: PeopleKit, telegram: TelegramSettings, proof: TelegramProof): TelegramPerson {
  const { bot_token, public_key, window_seconds } = telegram
  const check = { bot_token, public_key, window_ms: window_seconds * 1000, now_ms: kit.clock.now_ms() }
  const verdict: TelegramVerdict =
    'init_data' in proof ? checkInitData(proof.init_data, check) : checkLoginWidget(proof.widget, check)
  if ('refused' in verdict)
    throw new VendorProofInvalid(`Telegram did not vouch for this: ${verdict.refused}.`)
  return verdict.person
}

function settingsOf({ settings }: PeopleKit): TelegramSettings {
  if (settings.telegram === undefined) throw new SignInNotOffered('There is no Telegram bot here.')
  return settings.telegram
}

/** Remembers a proof under what was signed, so that it cannot be presented again from somewhere else. */
async function useVendorProof(tx: Tx, clock: Clock, proof: TelegramProof, client: Client): Promise<void> {
  const is_widget = 'widget' in proof
  const hash = is_widget
    ? String(proof.widget['hash'])
    : (new URLSearchParams(proof.init_data).get('hash') ?? '')
  const digest = digestOf(`telegram\n${hash}`)
  const place = createHash('sha256')
    .update(client.device_id ?? client.network)
    .digest('base64url')
  const now = clock.now()
  const is_new = await insertProof(tx, {
    digest,
    kind: PROOFS.vendor_proof.name,
    user_id: null,
    subject: null,
    facts: { place },
    created_at: now,
    expires_at: new Date(now.getTime() + PROOFS.vendor_proof.valid_ms),
  })
  if (is_new) return
  const known = await findProofAsItIs(tx, digest)
  assert(known !== undefined, 'a proof that is in the way is there')
  if (is_widget || (known.facts as { place: string }).place !== place) {
    throw new VendorProofInvalid('This proof was used before.')
  }
}

function identityOf(person: Omit<TelegramPerson, 'auth_date' | 'start_param'>): ProvedIdentity {
  const { id, first_name, last_name, username, language_code } = person
  const name = [first_name, last_name]
    .filter((part) => part)
    .join(' ')
    .slice(0, 200)
  return {
    provider: 'telegram',
    subject: id,
    name: name === '' ? username : name,
    locale: language_code?.slice(0, 35) ?? null,
    verified_email: null,
    facts: { name, username, language_code },
  }
}

/** `a…@mail.example`: enough to recognise one's own, too little for others. */
function masked(email: string | null): string | null {
  if (email === null) return null
  const at = email.lastIndexOf('@')
  return `${email.slice(0, 1)}…${email.slice(at)}`
}
