import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { repositoryFiles } from '../server/test/repository-files.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const OWN_FILES = ['acme-own.ts', 'acme-own.test.ts', 'acme-own/emulator.ts'].map(
  (name) => `extensions/gateways/${name}`,
)
const GATEWAY = 'server/src/modules/payments/gateways/acme-pay.ts'
const GATEWAY_TEST = 'server/src/modules/payments/gateways/acme-pay.test.ts'

let copy = ''
/** What the command said of the three it writes code for. */
let made: Record<'own' | 'gateway' | 'module', Made>
/** What the rules, the type checker and a test run say of all that: each is started once, for seconds. */
let rules: string[] = []
let types: string[] = []
let contracts = ''

/** A copy of what the command reads and writes, with this repository's dependencies. */
beforeAll(() => {
  copy = mkdtempSync(path.join(tmpdir(), 'kopilka-new-'))
  for (const name of [
    '.gitignore',
    '.oxfmtrc.json',
    'package.json',
    'tsconfig.json',
    'scripts',
    'docs',
    'server',
    'packages',
    'emulators',
    'extensions',
  ]) {
    cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true, filter: isWanted })
  }
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'))
  made = {
    own: make('own-gateway', 'acme-own'),
    gateway: make('gateway', 'acme-pay'),
    module: make('module', 'loyalty', 'stamp_card'),
  }
  judge()
})
afterAll(() => rmSync(copy, { recursive: true, force: true }))

// The type checker and test runs of their own are started here.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const isWanted = (name: string): boolean => !/[\\/](?:node_modules|data)$/.test(name)

interface Made {
  status: number | null
  output: string
}

function judge(): void {
  rules = run(path.join(copy, 'scripts/check/architecture.ts')).split('\n')
  const project = { extends: './tsconfig.json', include: [...OWN_FILES, GATEWAY, GATEWAY_TEST] }
  writeFileSync(path.join(copy, 'tsconfig.acme.json'), JSON.stringify(project))
  types = tool('typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.acme.json').split('\n')
  const how = { isolate: false, maxWorkers: 1, experimental: { viteModuleRunner: false, nodeLoader: false } }
  writeFileSync(path.join(copy, 'vitest.config.mjs'), `export default ${JSON.stringify({ test: how })}\n`)
  contracts = contract('acme-own.test.ts', 'acme-pay.test.ts')
}

const contract = (...filters: string[]): string =>
  tool('vitest/vitest.mjs', 'run', '--root', copy, '--config', 'vitest.config.mjs', ...filters)

function make(...words: string[]): Made {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(copy, 'scripts/new.ts'), ...words],
    {
      encoding: 'utf8',
      timeout: 120_000,
    },
  )
  return { status, output: `${stdout}${stderr}` }
}

const read = (name: string): string => readFileSync(path.join(copy, name), 'utf8')
const written = (output: string): string[] =>
  [...output.matchAll(/^written: (.+)$/gm)].map((match) => match[1] ?? '')

/** Violations of the house rules, as the copy's own rules see them, in files that begin with one of these. */
function violations(...beginnings: string[]): string[] {
  expect(rules.at(-2)).toMatch(/^\d+ rules, \d+ files/)
  return rules.filter((line) => beginnings.some((beginning) => line.startsWith(beginning)))
}

function run(program: string, ...args: string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    cwd: copy,
    encoding: 'utf8',
    timeout: 120_000,
    env: { ...process.env, NO_COLOR: '1' },
  })
  return `${stdout}${stderr}`
}

const tool = (name: string, ...args: string[]): string => run(path.join(ROOT, 'node_modules', name), ...args)

describe('npm run new own-gateway', () => {
  test('writes a gateway, its contract test and its vendor, which follow every rule, types too', () => {
    expect([made.own.status, written(made.own.output)]).toEqual([0, OWN_FILES])
    expect(violations(...OWN_FILES)).toEqual([])
    expect(tool('oxfmt/bin/oxfmt', '--check', ...OWN_FILES)).not.toContain('issues found')
    expect(types.filter((line) => line.includes('acme-own'))).toEqual([])
  })

  test('drafts a vendor that runs by itself', () => {
    expect(run(path.join(copy, 'emulators/main.ts'), 'acme-own', '--help')).toContain('--secret-key')
  })

  test('fails its contract until it is written', () => {
    expect(contracts).toContain('the gateway acme-own is not written yet: createPayment')
    expect(contracts).toMatch(/extensions\/gateways\/acme-own\.test\.ts .*\d+ failed/)
  })

  test('keeps the whole contract once its holes are filled, by the vendor and test drafted with it', () => {
    const [gateway = ''] = OWN_FILES
    cpSync(path.join(ROOT, 'server/test/own-gateways/drafted/acme-own.ts'), path.join(copy, gateway))
    const output = contract('acme-own.test.ts')
    expect(output).not.toMatch(/Tests\D+\d+ failed/)
    expect(Number(/Tests\D+(\d+) passed/.exec(output)?.[1])).toBeGreaterThan(40)
  })
})

describe('npm run new gateway', () => {
  test('writes a gateway and its contract test that follow every rule, types and format included', () => {
    expect([made.gateway.status, written(made.gateway.output)]).toEqual([0, [GATEWAY, GATEWAY_TEST]])
    expect(violations(GATEWAY, GATEWAY_TEST)).toEqual([])
    expect(tool('oxfmt/bin/oxfmt', '--check', GATEWAY, GATEWAY_TEST)).not.toContain('issues found')
    expect(types.filter((line) => line.includes('acme-pay'))).toEqual([])
  })

  test('loads as the server loads gateways: the id is the name of the file', async () => {
    const { default: loaded } = (await import(path.join(copy, GATEWAY))) as { default: { id: string } }
    expect(loaded.id).toBe('acme-pay')
  })

  test('fails its contract until it is written, and says which hole is empty', () => {
    expect(contracts).toContain('the gateway acme-pay is not written yet: createPayment')
    expect(contracts).toMatch(/gateways\/acme-pay\.test\.ts .*\d+ failed/)
  })

  test('overwrites nothing', () => {
    const before = read(GATEWAY)
    const { status, output } = make('gateway', 'acme-pay')
    expect(status).toBe(2)
    expect(output).toContain(`${GATEWAY}, ${GATEWAY_TEST} is there already`)
    expect(read(GATEWAY)).toBe(before)
  })
})

describe('npm run new module', () => {
  test('writes a module that follows every rule, and gives it its place in the order', () => {
    const { status, output } = made.module
    const names = written(output)
    expect(status).toBe(0)
    expect(names.map((name) => name.replace(/^server\/(src\/modules|migrations)\/(\d+_)?/, ''))).toEqual([
      'loyalty/README.md',
      'loyalty/index.ts',
      'loyalty/stamp-cards.ts',
      'loyalty/queries.ts',
      'loyalty/stamp-cards.test.ts',
      'loyalty.sql',
    ])
    expect(violations(...names, 'server/src/modules/loyalty')).toEqual([])
    expect(read('server/test/module-order.ts')).toMatch(/'webchat',\n {2}'loyalty',\n {2}'admin',\n\]/)
    const code = names.filter((name) => name.endsWith('.ts'))
    expect(tool('oxfmt/bin/oxfmt', '--check', ...code)).not.toContain('issues found')
  })

  test('refuses a name that is taken or cannot name a schema', () => {
    expect(make('module', 'ledger').output).toContain('ledger is there already')
    expect(make('module', 'Bad-Name').output).toContain('one lower case word')
  })
})

describe('npm run new migration', () => {
  test('takes the next number', () => {
    const first = written(make('migration', 'ledger_reasons').output)[0] ?? ''
    const second = written(make('migration', 'kernel_more').output)[0] ?? ''
    expect(first).toMatch(/^server\/migrations\/\d{4}_ledger_reasons\.sql$/)
    expect(Number(second.slice(18, 22))).toBe(Number(first.slice(18, 22)) + 1)
  })

  test('wants a module’s name first', () => {
    const { status, output } = make('migration', 'faster_reports')
    expect(status).toBe(2)
    expect(output).toContain('a migration is named for its module')
  })
})

describe('npm run new adr', () => {
  test('takes the next number and adds the decision to the list', () => {
    const { output } = make('adr', 'One', 'clock', 'for all')
    const [name = ''] = written(output)
    expect(name).toMatch(/^docs\/decisions\/\d{4}-one-clock-for-all\.md$/)
    const number = Number(path.basename(name).slice(0, 4))
    expect(read(name)).toContain(`# ${number}. One clock for all\n\nAccepted 2`)
    expect(read('docs/decisions/README.md')).toContain(
      `- [${number}. One clock for all](${path.basename(name)})\n`,
    )
  })
})

describe('npm run new', () => {
  test('explains itself when it is called wrongly, and writes nothing', () => {
    const before = repositoryFiles(copy).length
    for (const words of [[], ['nonsense'], ['gateway'], ['gateway', '../x'], ['adr', '#']]) {
      const { status, output } = make(...words)
      expect([words, status]).toEqual([words, 2])
      expect(output).toContain('npm run new gateway <id>')
    }
    expect(repositoryFiles(copy)).toHaveLength(before)
  })
})
