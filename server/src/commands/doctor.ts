import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { databaseClock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { hasJobTables } from '#kernel/job-queries'
import { loadSecretKeys, secretKeysFile } from '#kernel/secret-keys'
import { allInvariants, sealedByKey, type SealedUnder, verifyBooks } from '#modules/admin'
import { createGateways, loadGatewayFiles, sayRule, type Gateways } from '#modules/payments'
import {
  ConfigRefused,
  isSecretField,
  loadConfig,
  productSettings,
  showSettings,
  unknownSettings,
  type Config,
  type Environment,
} from '../config.ts'
import { gatewayFolders, startDatabase } from './boot.ts'
import { examineFiscal } from './doctor-fiscal.ts'
import { tryRedis } from '../transports/redis-limits.ts'
import { examineDatabase } from './doctor-database.ts'
import { inboxCheck } from './doctor-inbox.ts'
import { examineMachine } from './doctor-machine.ts'

/** One thing that was looked at. `problem`: it will not work; `warning`: it works, and may hurt one day. */
export interface Finding {
  level: 'ok' | 'note' | 'warning' | 'problem'
  /** What it is about: `database`, `settings`, `gateway yookassa`. */
  subject: string
  detail: string
  /** What to do. */
  advice?: string
}

/** A further look, such as one at a gateway. May ask the world; what it throws becomes a finding. */
export interface Check {
  subject: string
  look: () => Promise<readonly Finding[]>
}

export interface DoctorOptions {
  config: Config
  /** Open, not necessarily migrated; absent when there is none to look at yet. */
  db?: Db | undefined
  checks?: readonly Check[]
  /** Default: the process's own. */
  env?: Environment | undefined
}

/** Longer than the slowest vendor call. */
const CHECK_TIMEOUT_MS = 40_000

/** Looks at the machine, the settings, the database and everything the checks name. Changes nothing. */
export async function doctor({ config, db, checks = [], env }: DoctorOptions): Promise<Finding[]> {
  const findings = [...examineSettings(config, env), ...examineMachine(config)]
  findings.push(...(db ? await examineDatabase(db) : [noDatabaseYet]))
  for (const check of checks) findings.push(...(await guarded(check)))
  return findings
}

/** Prints every setting and finding; answers whether nothing is broken. */
export function printFindings(
  findings: readonly Finding[],
  write: (text: string) => void,
  env?: Environment,
): boolean {
  write('Settings\n')
  for (const { env: variable, value, about, is_default } of showSettings(env)) {
    write(`  ${variable} = ${value}${is_default ? ' (default)' : ''}\n      ${about}\n`)
  }
  write('\nFindings\n')
  for (const { level, subject, detail, advice } of findings) {
    write(`  ${MARKS[level]} ${subject}: ${detail}\n`)
    if (advice !== undefined) write(`      ${advice}\n`)
  }
  const count = (level: Finding['level']): number =>
    findings.filter((finding) => finding.level === level).length
  write(`\n${count('problem')} problems, ${count('warning')} warnings, ${count('ok')} fine.\n`)
  return count('problem') === 0
}

const MARKS: Readonly<Record<Finding['level'], string>> = { ok: '✓', note: '·', warning: '!', problem: '✗' }

const noDatabaseYet: Finding = {
  level: 'note',
  subject: 'database',
  detail: 'the embedded database was not started yet',
  advice: 'The first `npm start` makes it.',
}

/** Examines this installation; exit code 1 when something is broken. */
export async function doctorCommand(): Promise<void> {
  const write = (text: string): void => {
    process.stdout.write(text)
  }
  const config = readConfig()
  if (!('mode' in config)) {
    printFindings(config, write)
    process.exitCode = 1
    return
  }
  const opened = await openDatabase(config)
  try {
    const db = 'db' in opened ? opened.db : undefined
    const findings = await doctor({
      config,
      db,
      checks: await furtherChecks(config, db),
    })
    const broken = 'finding' in opened && opened.finding ? [opened.finding] : []
    const shown =
      broken.length > 0 ? [...findings.filter((finding) => finding !== noDatabaseYet), ...broken] : findings
    if (!printFindings(shown, write)) process.exitCode = 1
  } finally {
    if ('close' in opened) await opened.close()
  }
}

function readConfig(): Config | Finding[] {
  try {
    return loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigRefused)) throw error
    return [{ level: 'problem', subject: 'settings', detail: error.message, advice: error.hint }]
  }
}

type Opened = { db: Db; close: () => Promise<void> } | { finding?: Finding }

async function openDatabase(config: Config): Promise<Opened> {
  const is_new =
    config.database_url === undefined && !existsSync(path.join(config.data_directory, 'postgres'))
  if (is_new) return {}
  try {
    mkdirSync(config.data_directory, { recursive: true })
    const { url, stop } = await startDatabase(config)
    const db = createDb({ url, max: 2, application_name: 'kopilka-doctor' })
    return {
      db,
      close: async () => {
        await db.close()
        await stop()
      },
    }
  } catch (error) {
    const advice =
      error instanceof Error && 'hint' in error ? String(error.hint) : 'Look into the log of the database.'
    return { finding: { level: 'problem', subject: 'database', detail: String(error), advice } }
  }
}

function examineSettings(config: Config, env: Environment | undefined): Finding[] {
  const findings: Finding[] = unknownSettings(env).map((variable) => ({
    level: 'warning',
    subject: 'settings',
    detail: `there is no setting ${variable}`,
    advice: 'Look for a slip of the pen in its name, or remove it.',
  }))
  for (const { alias, env: own } of productSettings(env)) {
    findings.push({ level: 'note', subject: 'settings', detail: `${alias} is read as ${own}` })
  }
  const mode = config.mode === 'live' ? 'live: real money is taken' : 'sandbox: no real money is taken'
  findings.push({ level: 'note', subject: 'mode', detail: mode })
  if (config.mode === 'live' && config.return_url_origins.length === 0) {
    findings.push({
      level: 'warning',
      subject: 'settings',
      detail: 'buyers may be sent to any https address after paying',
      advice: 'Name your own in KOPILKA_RETURN_URL_ORIGINS.',
    })
  }
  if (config.base_url === undefined) {
    findings.push({
      level: 'note',
      subject: 'settings',
      detail: 'no KOPILKA_BASE_URL: vendors cannot reach this server',
      advice: 'Set it as soon as a gateway should send notifications here.',
    })
  }
  return [...findings, limitsFinding(config), ...shortSecrets(config), ...examineOrder(config)]
}

/** Which gateway an order that names none goes to, in words. */
function examineOrder(config: Config): Finding[] {
  const subject = 'gateway order'
  const set_up = Object.keys(config.gateways)
  if (set_up.length === 0) return []
  const rules = config.gateway_order
  if (rules.length === 0) {
    const detail = `as they are set up: ${set_up.join(', then ')}`
    return [{ level: 'note', subject, detail, advice: 'KOPILKA_GATEWAY_ORDER says it otherwise.' }]
  }
  const unknown = [...new Set(rules.flatMap((rule) => rule.gateways))].filter((id) => !set_up.includes(id))
  const left_out = set_up.filter((id) => !rules.some((rule) => rule.gateways.includes(id)))
  return [
    ...rules.map((rule): Finding => ({ level: 'note', subject, detail: sayRule(rule) })),
    ...unknown.map((id): Finding => ({
      level: 'warning',
      subject,
      detail: `${id} is not set up`,
      advice: 'Set it up, or take it out of KOPILKA_GATEWAY_ORDER.',
    })),
    ...left_out.map((id): Finding => ({
      level: 'note',
      subject,
      detail: `${id} is in no rule: it is used only when an order names it`,
    })),
  ]
}

/** Where attempts are counted, and what that is good for. */
function limitsFinding({ limits, redis_url }: Config): Finding {
  const own = limits === 'memory' ? 'memory' : 'the database'
  if (redis_url !== undefined) {
    return { level: 'note', subject: 'limits', detail: `counted in Redis, and in ${own} while it is away` }
  }
  if (limits === 'database') {
    return { level: 'note', subject: 'limits', detail: 'counted in the database, for all processes together' }
  }
  return {
    level: 'warning',
    subject: 'limits',
    detail: 'attempts to sign in and to buy are counted in memory: by each process, and gone when it ends',
    advice: 'Right for one process. With more of them set KOPILKA_LIMITS=database, or KOPILKA_REDIS_URL.',
  }
}

/** A key or password this short was cut while it was copied, or can be guessed. */
function shortSecrets(config: Config): Finding[] {
  return Object.entries(config.gateways).flatMap(([gateway, fields]) =>
    Object.entries(fields)
      .filter(([field, value]) => isSecretField(field) && String(value).length < 16)
      .map(([field]): Finding => ({
        level: 'problem',
        subject: `gateway ${gateway}`,
        detail: `${field} is shorter than 16 characters`,
        advice: 'Copy it again from the vendor’s cabinet, whole.',
      })),
  )
}

/** What is looked at beside the machine and the state of the database. */
export async function furtherChecks(config: Config, db: Db | undefined): Promise<Check[]> {
  const of_database = db === undefined ? [] : [keysCheck(config, db), inboxCheck(db), booksCheck(db)]
  return [...of_database, ...redisCheck(config), ...(await gatewayChecks(config))]
}

/** Whether everything that is sealed can be opened, and by the first key. */
function keysCheck(config: Config, db: Db): Check {
  const subject = 'secrets'
  return {
    subject,
    look: async () => {
      // Without a key file nothing was ever sealed, and to look for it would make one.
      const has_keys = config.secret_keys !== undefined || existsSync(secretKeysFile(config.data_directory))
      if (!has_keys || !(await hasJobTables(db))) return []
      const keys = loadSecretKeys({ data_directory: config.data_directory, setting: config.secret_keys })
      return sealedFindings(
        await sealedByKey(db),
        keys.map(({ id }) => id),
      )
    },
  }
}

/** Whether the books and the audit log are what they were when they were written. */
function booksCheck(db: Db): Check {
  const subject = 'books'
  return {
    subject,
    look: async () => {
      // Before the first start there are no tables to look through.
      if (!(await hasJobTables(db))) return []
      const { findings } = await verifyBooks(db, databaseClock())
      if (findings.length === 0) {
        return [{ level: 'ok', subject, detail: `all ${allInvariants().length} invariants hold` }]
      }
      return [
        {
          level: 'problem',
          subject,
          detail: `${findings.length} rows break an invariant, the first: ${findings[0]?.detail}`,
          advice:
            'Run: kopilka verify. Compare what it names with a backup: rows may have been changed by hand.',
        },
      ]
    },
  }
}

/** What is to be said of what is sealed under which key. */
export function sealedFindings(sealed: readonly SealedUnder[], key_ids: readonly string[]): Finding[] {
  const subject = 'secrets'
  const said = ({ count, place, key_id }: SealedUnder): string => `${count} ${place} under ${key_id}`
  const lost = sealed.filter(({ key_id }) => !key_ids.includes(key_id))
  const old = sealed.filter(({ key_id }) => key_ids.indexOf(key_id) > 0)
  const findings: Finding[] = []
  if (lost.length > 0) {
    const detail = `cannot be opened: ${lost.map(said).join(', ')}`
    const advice = 'Put the key back into secrets.key from its backup.'
    findings.push({ level: 'problem', subject, detail, advice })
  }
  if (old.length > 0) {
    const detail = `sealed under an older key: ${old.map(said).join(', ')}`
    const advice = 'Run: npm run kopilka -- secrets reseal'
    findings.push({ level: 'warning', subject, detail, advice })
  }
  const detail = 'all are sealed under the first key'
  return findings.length > 0 ? findings : [{ level: 'ok', subject, detail }]
}

/** Whether Redis answers; without it limits are still counted, but apart. */
function redisCheck({ redis_url }: Config): Check[] {
  if (redis_url === undefined) return []
  const subject = 'limits'
  return [
    {
      subject,
      look: async () => {
        const problem = await tryRedis(redis_url)
        if (problem === undefined) return [{ level: 'ok', subject, detail: 'Redis answers' }]
        const advice =
          'Look at KOPILKA_REDIS_URL and at Redis itself; until then they are counted without it.'
        return [{ level: 'problem', subject, detail: `Redis does not answer: ${problem}`, advice }]
      },
    },
  ]
}

/** One check per gateway with settings: whether they fit, and whether the vendor knows them. */
async function gatewayChecks(config: Config): Promise<Check[]> {
  const files = await loadGatewayFiles(gatewayFolders(config))
  const gateways = createGateways(files, {
    clock: databaseClock(),
    mode: config.mode,
    base_url: () => config.base_url ?? '',
  })
  const entries = Object.entries(config.gateways)
  if (entries.length === 0)
    return [{ subject: 'gateways', look: async () => [noGateway(files.map((file) => file.id))] }]
  const each = entries.map(([id, values]): Check => {
    const subject = `gateway ${id}`
    return { subject, look: async () => [await examineGateway(gateways, id, values)] }
  })
  // The last: by then the gateways whose settings fit are set up.
  const look = async () => examineFiscal(config, gateways, databaseClock().now())
  return [...each, { subject: 'fiscal receipts', look }]
}

async function examineGateway(gateways: Gateways, id: string, values: unknown): Promise<Finding> {
  const subject = `gateway ${id}`
  gateways.configure(id, values)
  const { gateway, config } = gateways.get(id)
  if (!gateway.checkHealth) {
    return { level: 'ok', subject, detail: 'the settings fit; this vendor has no call to try them' }
  }
  const { ok, detail } = await gateway.checkHealth(config, gateways.context(id))
  if (ok) return { level: 'ok', subject, detail }
  return { level: 'problem', subject, detail, advice: 'Compare the settings with the vendor’s cabinet.' }
}

function noGateway(installed: readonly string[]): Finding {
  return {
    level: 'note',
    subject: 'gateways',
    detail: `none is set up; installed: ${installed.join(', ')}`,
    advice: 'Set KOPILKA_GATEWAY_<NAME>_<FIELD> for each field the gateway asks for.',
  }
}

/** A check that throws or hangs is a finding, not the end of the examination. */
async function guarded(check: Check): Promise<readonly Finding[]> {
  const timer = new AbortController()
  const late = new Promise<never>((_, reject) => {
    const timeout = setTimeout(() => reject(new Error('it did not answer in time')), CHECK_TIMEOUT_MS)
    timer.signal.addEventListener('abort', () => clearTimeout(timeout))
  })
  try {
    return await Promise.race([check.look(), late])
  } catch (error) {
    const advice = 'Correct the settings named here and look again.'
    return [{ level: 'problem', subject: check.subject, detail: reasonOf(error), advice }]
  } finally {
    timer.abort()
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    return error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}
