import { parseArgs } from 'node:util'
import { ControlError, startEmulator } from './emulator.ts'
import type { BaseSettings, Emulator, EmulatorDefinition, EmulatorOptions } from './emulator.ts'
import { emulatorIds, listEmulators, loadEmulator } from './kit/registry.ts'

/**
 * `npm run emulator`                    lists the emulators
 * `npm run emulator yookassa -- --port 9101 --webhook-url http://127.0.0.1:8080/webhooks/payments/yookassa`
 * Every setting of an emulator is an option of the same name with dashes.
 */
const OWN_OPTIONS = ['port', 'host', 'seed', 'retry-scale', 'faults', 'help'] as const

await main(process.argv.slice(2))

async function main(argv: string[]): Promise<void> {
  const id = argv.find((argument) => !argument.startsWith('-'))
  if (id === undefined) return print(listing(await listEmulators()))
  const definition = await loadEmulator(id)
  if (!definition) return fail(`There is no emulator "${id}". Known: ${(await emulatorIds()).join(', ')}.`)
  const rest = argv.filter((argument, index) => argument !== '--' && index !== argv.indexOf(id))
  try {
    const given = readOptions(definition, rest)
    if (given === undefined) return print(help(definition))
    const emulator = await startEmulator(definition, given)
    print(welcome(emulator, definition, given))
    stopOnSignal(emulator)
  } catch (error) {
    const details = error instanceof ControlError ? ` ${JSON.stringify(error.details)}` : ''
    fail(`${error instanceof Error ? error.message : String(error)}${details}`)
  }
}

/** Parses the command line; undefined when help was asked for. Throws for unknown options and bad numbers. */
function readOptions(
  definition: EmulatorDefinition<BaseSettings>,
  argv: string[],
): EmulatorOptions<BaseSettings> | undefined {
  const names = ['webhook_url', ...Object.keys(definition.settings)]
  const flags = names.map((name) => name.replaceAll('_', '-'))
  const { values } = parseArgs({
    args: argv,
    strict: true,
    options: Object.fromEntries(
      [...OWN_OPTIONS, ...flags].map((flag) => [
        flag,
        { type: flag === 'help' ? 'boolean' : 'string' } as const,
      ]),
    ),
  })
  if (values['help']) return undefined
  const settings: Record<string, unknown> = {}
  for (const name of names) {
    const text = values[name.replaceAll('_', '-')]
    if (typeof text === 'string') settings[name] = typed(definition, name, text)
  }
  return {
    settings,
    ...(values['port'] === undefined ? {} : { port: number('port', values['port']) }),
    ...(typeof values['host'] === 'string' ? { host: values['host'] } : {}),
    ...(values['seed'] === undefined ? {} : { seed: number('seed', values['seed']) }),
    ...(values['retry-scale'] === undefined
      ? {}
      : { retry_scale: number('retry-scale', values['retry-scale']) }),
    ...(typeof values['faults'] === 'string' ? { faults: json('faults', values['faults']) } : {}),
  }
}

function typed(definition: EmulatorDefinition<BaseSettings>, name: string, text: string): unknown {
  const fields = definition.settings as Record<string, { schema: Readonly<Record<string, unknown>> }>
  const type = fields[name]?.schema['type']
  if (type === 'boolean') return text === 'true' || text === '1'
  if (type === 'integer' || type === 'number') return number(name, text)
  if (type === 'array' || type === 'object') return json(name, text)
  return text
}

function number(name: string, text: unknown): number {
  const value = Number(text)
  if (typeof text !== 'string' || text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new Error(`--${name} takes a number, not "${String(text)}".`)
  }
  return value
}

function json(name: string, text: string): Record<string, never> {
  try {
    return JSON.parse(text) as Record<string, never>
  } catch (error) {
    throw new Error(`--${name} takes JSON.`, { cause: error })
  }
}

function listing(emulators: Map<string, EmulatorDefinition<BaseSettings>>): string {
  const rows = [...emulators.values()].map(({ id, description }) => `  ${id.padEnd(16)}${description}`)
  return ['Emulators:', ...rows, '', 'Run one: npm run emulator <id> [-- --port 9101 --help]'].join('\n')
}

function help(definition: EmulatorDefinition<BaseSettings>): string {
  const fields = Object.entries(definition.settings) as [string, { description: string; default: unknown }][]
  const rows = fields.map(
    ([name, field]) =>
      `  --${name.replaceAll('_', '-')}  ${field.description} Default: ${JSON.stringify(field.default)}`,
  )
  return [
    `${definition.title}: ${definition.description}`,
    '',
    '  --webhook-url  Address the notifications are sent to.',
    ...rows,
    '  --port --host --seed --retry-scale --faults JSON',
  ].join('\n')
}

/** The credentials are throwaway values of a machine-local toy: showing them is the point. */
function welcome(
  emulator: Emulator,
  definition: EmulatorDefinition<BaseSettings>,
  given: EmulatorOptions<BaseSettings>,
): string {
  const fields = Object.entries(definition.settings) as [string, { default: unknown }][]
  const chosen = (given.settings ?? {}) as Record<string, unknown>
  const status = emulator.control.status()
  const address = JSON.stringify(status.settings['webhook_url']).slice(1, -1)
  return [
    `${emulator.title} emulator: ${emulator.base_url}`,
    `  control API    ${emulator.base_url}/_emulator`,
    `  notifications  ${address === '' ? 'not sent (no --webhook-url)' : address}`,
    `  seed           ${status.seed}`,
    '  settings',
    ...fields.map(([name, field]) => `    ${name}: ${JSON.stringify(chosen[name] ?? field.default)}`),
  ].join('\n')
}

function stopOnSignal(emulator: Emulator): void {
  const stop = () => {
    emulator.close().then(
      () => process.exit(0),
      (error: unknown) => fail(String(error)),
    )
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function fail(text: string): void {
  process.stderr.write(`${text}\n`)
  process.exit(1)
}
