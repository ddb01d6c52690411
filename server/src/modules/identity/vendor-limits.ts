import { OperationalError } from '#kernel/errors'
import type { PeopleKit } from './people-kit.ts'

const QUARTER_MS = 15 * 60_000
/** Wrong proofs; right ones are given back. An office or a mobile operator may share one address. */
const PROOFS_OF_NETWORK = { name: 'vendor proof, network', count: 60, period_ms: QUARTER_MS }
/** Each leaves a row until it is too old. */
const BEGUN_BY_NETWORK = { name: 'vendor sign-in, network', count: 120, period_ms: QUARTER_MS }
/** A page asks every second or two until its person agreed in the bot; several pages may share an address. */
const POLLS_OF_NETWORK = { name: 'vendor claim, network', count: 1_800, period_ms: QUARTER_MS }
/** Apart from passwords: a flood of these keeps nobody from signing in by one. */
const BEGUN_BY_ALL = { name: 'vendor sign-in, all', count: 6_000, period_ms: 10 * 60_000 }

/** Counts a sign-in at a vendor that is begun, or a code for the bot. Throws TooManyRequests. */
export async function countBegun({ limits }: PeopleKit, network: string): Promise<void> {
  await limits.take([
    { rule: BEGUN_BY_NETWORK, subject: network },
    { rule: BEGUN_BY_ALL, subject: '' },
  ])
}

/** Counts a page that asks whether its person agreed in the bot. Throws TooManyRequests. */
export async function countPoll({ limits }: PeopleKit, network: string): Promise<void> {
  await limits.take([{ rule: POLLS_OF_NETWORK, subject: network }])
}

/**
 * Counts somebody's proof by a vendor, and takes the count back when it was right, or when the world failed
 * and nothing was told. Throws TooManyRequests, and what `work` throws.
 */
export async function withProof<T>(
  { limits }: PeopleKit,
  network: string,
  work: () => Promise<T>,
): Promise<T> {
  const attempts = [{ rule: PROOFS_OF_NETWORK, subject: network }]
  await limits.take(attempts)
  try {
    const answer = await work()
    await limits.giveBack(attempts)
    return answer
  } catch (error) {
    if (error instanceof OperationalError) await limits.giveBack(attempts)
    throw error
  }
}
