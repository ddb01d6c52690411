import path from 'node:path'
import { MODULES } from './module-order.ts'
import { allCode, importsOf, isTest, isWorldFolder, moduleOf, violation } from './rules-source.ts'
import type { Import, Rule, SourceFile, Violation } from './rules-source.ts'

const KERNEL = 'server/src/kernel/'
const HTTP = 'server/src/http/'
const FACADES = 'server/src/facades/'
const SERVER = 'server/src/'

type Judge = (file: SourceFile, one: Import) => string | undefined

function eachImport(name: string, files: readonly SourceFile[], judge: Judge): Violation[] {
  return allCode(files).flatMap((file) =>
    importsOf(file).flatMap((one) => {
      const detail = judge(file, one)
      return detail === undefined ? [] : [violation(file, one.start, name, detail)]
    }),
  )
}

function rule(name: string, says: string, judge: Judge): Rule {
  return { name, says, find: (files) => eachImport(name, files, judge) }
}

const isDoor = (target: string): boolean => /^server\/src\/modules\/[^/]+\/index\.ts$/.test(target)

const doors = rule('door', 'a module is imported through its door only', (file, one) => {
  if (one.target === undefined) return undefined
  const to = moduleOf(one.target)
  if (to === undefined) return undefined
  if (moduleOf(file.path) === to) {
    return one.specifier.startsWith('#')
      ? `imports its own door ${one.specifier}; import the file`
      : undefined
  }
  if (isDoor(one.target)) return undefined
  // The contract suite, tests and benches that play a vendor import gateway files: each is a door of its own.
  const may_play_vendor = isTest(file) || file.path.startsWith('bench/')
  if (isWorldFolder(one.target) && may_play_vendor && moduleOf(file.path) === undefined) return undefined
  return `imports ${one.specifier}; only #modules/${to} may be imported`
})

const downward = rule('downward', 'modules import downward only', (file, one) => {
  const from = moduleOf(file.path)
  const to = one.target === undefined ? undefined : moduleOf(one.target)
  if (from === undefined || to === undefined || from === to) return undefined
  if (MODULES.indexOf(to) < MODULES.indexOf(from)) return undefined
  return `${from} imports ${to}, which is not below it; use an event and reactions.ts`
})

const relative = rule('relative', 'relative imports stay inside their part of the server', (file, one) => {
  if (!one.specifier.startsWith('.') || one.target === undefined) return undefined
  const home = homeOf(file.path)
  if (home === undefined || one.target.startsWith(home)) return undefined
  if (isTest(file) && one.target.startsWith('server/test/')) return undefined
  return `imports ${one.specifier} from outside ${home}`
})

function homeOf(file_path: string): string | undefined {
  const module_name = moduleOf(file_path)
  if (module_name !== undefined) return `${SERVER}modules/${module_name}/`
  return [KERNEL, HTTP].find((home) => file_path.startsWith(home))
}

const kernel = rule(
  'kernel-alone',
  'the kernel imports npm packages and itself, nothing of the domain',
  (file, one) => {
    if (!file.path.startsWith(KERNEL)) return undefined
    if (isTest(file) && one.target?.startsWith('server/test/')) return undefined
    if (one.target !== undefined)
      return one.target.startsWith(KERNEL) ? undefined : `imports ${one.specifier}`
    return one.specifier === '@kopilka/extension' ? undefined : ownPackage(one)
  },
)

const http = rule(
  'http-below',
  'the HTTP edge imports the kernel and itself, nothing of the domain',
  (file, one) => {
    if (!file.path.startsWith(HTTP)) return undefined
    if (isTest(file) && one.target?.startsWith('server/test/')) return undefined
    if (one.target !== undefined) {
      return one.target.startsWith(KERNEL) || one.target.startsWith(HTTP)
        ? undefined
        : `imports ${one.specifier}`
    }
    return one.specifier === '@kopilka/extension' ? undefined : ownPackage(one)
  },
)

function ownPackage(one: Import): string | undefined {
  return one.specifier.startsWith('@kopilka/') ? `imports ${one.specifier}` : undefined
}

const MODULE_HTTP = /(^|\/|-)(routes|schemas)\.ts$/

const modules = rule(
  'module-below',
  'a module imports the kernel, itself and lower doors; #http only in routes and schemas (types anywhere)',
  (file, one) => {
    if (moduleOf(file.path) === undefined || isTest(file)) return undefined
    if (one.target === undefined)
      return one.specifier === '@kopilka/emulators' ? `imports ${one.specifier}` : undefined
    if (moduleOf(one.target) !== undefined || one.target.startsWith(KERNEL)) return undefined
    if (one.target.startsWith(HTTP)) {
      return one.is_type || MODULE_HTTP.test(file.path)
        ? undefined
        : `imports ${one.specifier}; do that in routes.ts`
    }
    return `imports ${one.specifier}`
  },
)

const facades = rule(
  'facade-below',
  'a facade imports the kernel, the edge, doors and its own files',
  (file, one) => {
    if (!file.path.startsWith(FACADES) || isTest(file) || one.target === undefined) return undefined
    const may = [KERNEL, HTTP, FACADES].some((home) => one.target?.startsWith(home)) || isDoor(one.target)
    return may ? undefined : `imports ${one.specifier}`
  },
)

const world = rule(
  'gateway-alone',
  'a gateway, channel, provider or transport sees npm packages and its own folder only',
  (file, one) => {
    const match = /^(.*\/(?:gateways|channels|providers|transports)\/)([^/]+?)(?:\.ts$|\/)/.exec(file.path)
    if (!match || !file.path.startsWith(SERVER) || isTest(file)) return undefined
    if (one.target === undefined) return one.specifier === '@kopilka/extension' ? undefined : ownPackage(one)
    const own = `${match[1]}${match[2]}`
    if (one.target.startsWith(`${own}/`) || one.target === `${own}.ts`) return undefined
    return `imports ${one.specifier}; it is handed what it needs and sees no database, order or other gateway`
  },
)

/** Parts beside the server, and what of ours each may import. */
const OUTSIDE: readonly { part: string; may: readonly string[] }[] = [
  { part: 'extensions/', may: ['@kopilka/extension'] },
  { part: 'packages/extension/', may: [] },
  { part: 'packages/sdk/', may: [] },
  { part: 'emulators/', may: [] },
  { part: 'web/', may: ['@kopilka/sdk', '@kopilka/ui'] },
  { part: 'examples/', may: ['@kopilka/sdk'] },
  { part: 'server/test/scenarios/', may: ['@kopilka/sdk', '@kopilka/emulators'] },
]

const outside = rule(
  'outside',
  'extensions see the contract; web, SDK, scenarios and examples see the API, never the inside of the server',
  (file, one) => {
    const place = OUTSIDE.find(({ part }) => file.path.startsWith(part))
    if (!place || isExtensionProof(file, one)) return undefined
    if (one.target !== undefined) {
      const may = one.target.startsWith(rootOf(place.part)) && !one.target.startsWith(SERVER)
      return may ? undefined : `imports ${one.specifier}`
    }
    return place.may.some((own) => one.specifier === own || one.specifier.startsWith(`${own}/`))
      ? undefined
      : ownPackage(one)
  },
)

/** A gateway of one's own is proved as ours are: by the contract, against an emulator of its vendor. */
function isExtensionProof(file: SourceFile, { specifier, target }: Import): boolean {
  if (!file.path.startsWith('extensions/')) return false
  if (specifier.startsWith('@kopilka/emulators/')) return isTest(file) || file.path.endsWith('/emulator.ts')
  return isTest(file) && target === 'server/test/gateway-contract.ts'
}

/** Scenarios may use the harness beside them; everything else stays in its own part. */
function rootOf(part: string): string {
  return part === 'server/test/scenarios/' ? 'server/test/' : part
}

const inward = rule(
  'inward',
  'nothing but scripts and benches outside the server reaches into it',
  (file, one) => {
    if (file.path.startsWith('server/') || !one.target?.startsWith(SERVER)) return undefined
    if (OUTSIDE.some(({ part }) => file.path.startsWith(part))) return undefined
    return /^(scripts|bench)\//.test(file.path)
      ? undefined
      : `imports ${path.posix.basename(one.target)} of the server`
  },
)

const FASTIFY = /^(?:fastify|@fastify\/.+|fastify-.+|@scalar\/fastify-.+)$/
const FASTIFY_PLACES = /(?:^|\/|-)routes\.ts$|^server\/src\/(?:http|facades)\/|^server\/src\/app\.ts$/

const fastify = rule(
  'fastify-place',
  'Fastify only in routes.ts, http/, facades/ and app.ts',
  (file, one) => {
    if (!file.path.startsWith(SERVER) || isTest(file) || FASTIFY_PLACES.test(file.path)) return undefined
    return FASTIFY.test(one.specifier) ? `imports ${one.specifier}` : undefined
  },
)

/** What imports what. */
export const importRules: readonly Rule[] = [
  doors,
  downward,
  relative,
  kernel,
  http,
  modules,
  facades,
  world,
  outside,
  inward,
  fastify,
]
