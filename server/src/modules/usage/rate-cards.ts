import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { newId } from '#kernel/ids'
import { upsertRateCard, type RateCardRow } from './queries.ts'

/** The day on which the figures below were last compared with what was published. */
const AS_OF = '2026-11-01'
const SINCE = new Date('2020-01-01T00:00:00Z')

type SeedCard = Omit<RateCardRow, 'id' | 'created_at' | 'effective_from' | 'effective_to'>

/**
 * Price lists of speech recognition as they were known on the day of `as_of`: figures to start from, for the
 * owner to check against his own contract. The rounding rules are the providers' published ones. A change is
 * a new card with a later `effective_from`, so that the cost of the past stays what it was.
 */
export const SPEECH_RATE_CARDS: readonly SeedCard[] = [
  card(
    'yandex',
    'sync',
    15_000n,
    15_000n,
    1,
    1,
    160_000_000n,
    'RUB',
    'SpeechKit, synchronous recognition: 0.16 RUB per 15 s',
  ),
  card(
    'yandex',
    'stream',
    15_000n,
    15_000n,
    1,
    1,
    160_000_000n,
    'RUB',
    'SpeechKit, streaming recognition: as synchronous',
  ),
  card(
    'yandex',
    'async',
    1000n,
    15_000n,
    2,
    0,
    10_666_667n,
    'RUB',
    'SpeechKit, asynchronous: per second of two channels, at least 15 s',
  ),
  card(
    'google',
    'v1',
    15_000n,
    15_000n,
    1,
    0,
    6_000_000n,
    'USD',
    'Speech-to-Text v1, standard model: 0.006 USD per 15 s',
  ),
  card(
    'google',
    'v2',
    1000n,
    0n,
    1,
    0,
    266_667n,
    'USD',
    'Speech-to-Text v2, standard model: 0.016 USD per minute, per second',
  ),
]

/** Which mode stands for a provider when the caller names none. */
export const DEFAULT_MODE: Readonly<Record<string, string>> = { yandex: 'stream', google: 'v1' }

/** Puts the seed cards in, or brings them up to date; repeating it changes nothing. */
export async function seedRateCards(tx: Tx, clock: Clock): Promise<void> {
  for (const seed of SPEECH_RATE_CARDS) {
    await upsertRateCard(tx, {
      ...seed,
      id: newId('card', clock.now_ms()),
      effective_from: SINCE,
      effective_to: null,
      created_at: clock.now(),
    })
  }
}

function card(
  provider: string,
  mode: string,
  increment_ms: bigint,
  minimum_ms: bigint,
  channel_group: number,
  empty_increments: number,
  nano_per_increment: bigint,
  currency: string,
  source: string,
): SeedCard {
  return {
    provider,
    mode,
    increment_ms,
    minimum_ms,
    channel_group,
    empty_increments,
    nano_per_increment,
    currency,
    source,
    round_per: 'request',
    as_of: AS_OF,
  }
}
