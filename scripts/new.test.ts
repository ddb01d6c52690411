import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { repositoryFiles } from '../server/test/repository-files.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
let copy = ''

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
})
afterAll(() => rmSync(copy, { recursive: true, force: true }))

// Each starts the type checker or a test run of its own.
vi.setConfig({ testTimeout: 180_000 })

const isWanted = (name: string): boolean => !/[\\/](?:node_modules|data)$/.test(name)

function make(...words: string[]): { status: number | null; output: string } {
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
  const lines = run(path.join(copy, 'scripts/check/architecture.ts')).split('\n')
  expect(lines.at(-2)).toMatch(/^\d+ rules, \d+ files/)
  return lines.filter((line) => beginnings.some((beginning) => line.startsWith(beginning)))
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
  const files = ['acme-own.ts', 'acme-own.test.ts', 'acme-own/emulator.ts'].map(
    (name) => `extensions/gateways/${name}`,
  )

  test('writes a gateway, its contract test and its vendor, which follow every rule, types too', () => {
    const { status, output } = make('own-gateway', 'acme-own')
    expect([status, written(output)]).toEqual([0, files])
    expect(violations(...files)).toEqual([])
    expect(tool('oxfmt/bin/oxfmt', '--check', ...files)).not.toContain('issues found')
    const project = { extends: './tsconfig.json', include: files }
    writeFileSync(path.join(copy, 'own.json'), JSON.stringify(project))
    const types = tool('typescript/bin/tsc', '--noEmit', '-p', 'own.json')
    expect(types.split('\n').filter((line) => line.includes('acme-own'))).toEqual([])
  })

  test('drafts a vendor that runs by itself', () => {
    expect(run(path.join(copy, 'emulators/main.ts'), 'acme-own', '--help')).toContain('--secret-key')
  })

  const contract = (): string => {
    writeFileSync(path.join(copy, 'vitest.config.mjs'), 'export default {}\n')
    const [, test_file = ''] = files
    return tool('vitest/vitest.mjs', 'run', '--root', copy, '--config', 'vitest.config.mjs', test_file)
  }

  test('fails its contract until it is written', () => {
    const output = contract()
    expect(output).toContain('the gateway acme-own is not written yet: createPayment')
    expect(output).toMatch(/Tests\D+\d+ failed/)
  })

  test('keeps the whole contract once its holes are filled, by the vendor and test drafted with it', () => {
    const [gateway = ''] = files
    cpSync(path.join(ROOT, 'server/test/own-gateways/drafted/acme-own.ts'), path.join(copy, gateway))
    const output = contract()
    expect(output).not.toMatch(/Tests\D+\d+ failed/)
    expect(Number(/Tests\D+(\d+) passed/.exec(output)?.[1])).toBeGreaterThan(40)
  })
})

describe('npm run new gateway', () => {
  const gateway = 'server/src/modules/payments/gateways/acme-pay.ts'
  const contract = 'server/src/modules/payments/gateways/acme-pay.test.ts'

  test('writes a gateway and its contract test that follow every rule, types and format included', () => {
    const { status, output } = make('gateway', 'acme-pay')
    expect([status, written(output)]).toEqual([0, [gateway, contract]])
    expect(violations(gateway, contract)).toEqual([])
    expect(tool('oxfmt/bin/oxfmt', '--check', gateway, contract)).not.toContain('issues found')
    const project = { extends: './tsconfig.json', include: [gateway, contract] }
    writeFileSync(path.join(copy, 'tsconfig.acme.json'), JSON.stringify(project))
    const types = tool('typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.acme.json')
    expect(types.split('\n').filter((line) => line.includes('acme-pay'))).toEqual([])
  })

  test('loads as the server loads gateways: the id is the name of the file', async () => {
    const { default: loaded } = (await import(path.join(copy, gateway))) as { default: { id: string } }
    expect(loaded.id).toBe('acme-pay')
  })

  test('fails its contract until it is written, and says which hole is empty', () => {
    writeFileSync(path.join(copy, 'vitest.config.mjs'), 'export default {}\n')
    const output = tool('vitest/vitest.mjs', 'run', '--root', copy, '--config', 'vitest.config.mjs', contract)
    expect(output).toContain('the gateway acme-pay is not written yet: createPayment')
    expect(output).toMatch(/Tests\D+\d+ failed/)
  })

  test('overwrites nothing', () => {
    const before = read(gateway)
    const { status, output } = make('gateway', 'acme-pay')
    expect(status).toBe(2)
    expect(output).toContain(`${gateway}, ${contract} is there already`)
    expect(read(gateway)).toBe(before)
  })
})

describe('npm run new module', () => {
  test('writes a module that follows every rule, and gives it its place in the order', () => {
    const { status, output } = make('module', 'loyalty', 'stamp_card')
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
