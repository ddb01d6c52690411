import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, assert, InvalidState, NotFound } from '#kernel/errors'
import { toPage, type Cursors, type Page } from '#kernel/page'
import * as queries from './unit-queries.ts'
import type { UnitRow } from './unit-queries.ts'

/**
 * What is counted: `minute`, `check`, `RUB`. Amounts are kept in its smallest part; `scale` of them make
 * one unit as people read it. Code, scale and kind never change: every amount ever kept is read by them.
 */
export type Unit = UnitRow

/** Units an installation may have. */
export const UNITS_MAX = 1_000

export interface NewUnit {
  code: string
  scale: bigint
  name: string
  /** Names in other languages by locale. */
  translations?: Record<string, string> | undefined
  kind?: Unit['kind'] | undefined
  is_debt_allowed?: boolean | undefined
}

/** What of a unit may change. */
export interface UnitFacts {
  name?: string | undefined
  translations?: Record<string, string> | undefined
  is_debt_allowed?: boolean | undefined
}

/** Makes a unit. Throws AlreadyExists when its code is taken. */
export async function createUnit(tx: Tx, clock: Clock, input: NewUnit): Promise<Unit> {
  const unit = withDefaults(input, clock.now())
  if (await queries.insertUnit(tx, unit)) return unit
  throw new AlreadyExists(`There is a unit ${input.code} already.`)
}

/**
 * Makes a unit or brings its names up to date. Throws InvalidState when it exists with another scale or kind:
 * the amounts that are kept would change their meaning.
 */
export async function ensureUnit(tx: Tx, clock: Clock, input: NewUnit): Promise<Unit> {
  const unit = withDefaults(input, clock.now())
  if (await queries.insertUnit(tx, unit)) return unit
  const known = await getUnit(tx, input.code)
  if (known.scale !== unit.scale || known.kind !== unit.kind) {
    throw new InvalidState(`The unit ${input.code} has scale ${known.scale} and kind ${known.kind} for good.`)
  }
  const { code, name, translations, is_debt_allowed } = input
  return updateUnit(tx, { code, name, translations, is_debt_allowed })
}

/** Changes the names of a unit, or whether it may be owed; what is undefined stays. Throws NotFound. */
export async function updateUnit(tx: Tx, input: { code: string } & UnitFacts): Promise<Unit> {
  const { code, name, translations, is_debt_allowed } = input
  const facts = {
    ...(name === undefined ? {} : { name }),
    ...(translations === undefined ? {} : { translations }),
    ...(is_debt_allowed === undefined ? {} : { is_debt_allowed }),
  }
  const unit =
    Object.keys(facts).length === 0 ? await getUnit(tx, code) : await queries.updateUnit(tx, code, facts)
  if (!unit) throw new NotFound(`There is no unit ${code}.`)
  return unit
}

/** Throws NotFound. */
export async function getUnit(sql: Sql, code: string): Promise<Unit> {
  const [unit] = await queries.findUnits(sql, [code])
  if (!unit) throw new NotFound(`There is no unit ${code}.`)
  return unit
}

/** Units of these codes that exist, by code. */
export async function findUnits(sql: Sql, codes: readonly string[]): Promise<Map<string, Unit>> {
  const units = await queries.findUnits(sql, codes)
  return new Map(units.map((unit) => [unit.code, unit]))
}

/** All units in order of their codes; an installation has a handful, and at most {@link UNITS_MAX}. */
export function listUnits(sql: Sql): Promise<Unit[]> {
  return queries.listUnits(sql, '', UNITS_MAX)
}

/** A page of {@link listUnits}. Throws InvalidRequest for a cursor of another list. */
export async function pageUnits(
  sql: Sql,
  cursors: Cursors,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Unit>> {
  const position = page.cursor === undefined ? [''] : cursors.open('units', page.cursor)
  const rows = await queries.listUnits(sql, String(position[0]), page.limit + 1)
  return toPage(
    rows,
    page.limit,
    cursors,
    'units',
    (row) => [row.code],
    (row) => row,
  )
}

function withDefaults(input: NewUnit, now: Date): Unit {
  assert(input.scale > 0n, 'a unit has a positive scale')
  return {
    code: input.code,
    scale: input.scale,
    name: input.name,
    translations: input.translations ?? {},
    kind: input.kind ?? 'counted',
    is_debt_allowed: input.is_debt_allowed ?? false,
    created_at: now,
  }
}
