import type { CallExpression, Node } from 'oxc-parser'
import { importsOf, isTest, isWorldFolder, moduleOf, serverCode, visit, violation } from './rules-source.ts'
import type { Rule, SourceFile, Violation } from './rules-source.ts'

type Report = (node: { start: number }, detail: string) => void

function rule(
  name: string,
  says: string,
  applies: (file: SourceFile) => boolean,
  look: (file: SourceFile, report: Report) => void,
): Rule {
  return {
    name,
    says,
    find: (files) =>
      files.filter(applies).flatMap((file) => {
        const found: Violation[] = []
        look(file, (node, detail) => found.push(violation(file, node.start, name, detail)))
        return found
      }),
  }
}

const isServerCode = (file: SourceFile): boolean => serverCode([file]).length === 1
const isDomain = (file: SourceFile): boolean =>
  isServerCode(file) && /^server\/src\/(?:modules|facades)\/|^server\/src\/reactions\.ts$/.test(file.path)

/** `name` for `name(…)`, `a.b` for `a.b(…)`; the object's own last name where the chain is longer. */
export function calleeOf(call: CallExpression): string {
  return dotted(call.callee)
}

function dotted(node: Node): string {
  if (node.type === 'Identifier') return node.name
  if (node.type !== 'MemberExpression' || node.computed) return ''
  const property = node.property.type === 'Identifier' ? node.property.name : ''
  const object = dotted(node.object)
  return `${object.split('.').at(-1) ?? ''}.${property}`
}

const NETWORK_PACKAGES =
  /^(?:node:)?(?:https?|http2|net|tls|dgram|dns|dns\/promises)$|^(?:undici|ws|axios|got|node-fetch)$|^@redis/
/** Questions about texts that happen to live in `node:net`. */
const PURE_NAMES = new Set(['isIP', 'isIPv4', 'isIPv6', 'BlockList', 'SocketAddress'])
const NETWORK_PLACES =
  /^packages\/extension\/src\/http\.ts$|^server\/src\/kernel\/embedded-postgres[^/]*\.ts$/

function mayUseNetwork(file: SourceFile): boolean {
  return isTest(file) || isWorldFolder(file.path) || NETWORK_PLACES.test(file.path)
}

const network = rule(
  'network-place',
  'network only in gateways/, channels/, providers/ and transports/',
  (file) => /^(?:server\/src|packages\/extension\/src)\/.*\.ts$/.test(file.path) && !mayUseNetwork(file),
  (file, report) => {
    for (const one of importsOf(file)) {
      const is_pure = one.is_type || (one.names.length > 0 && one.names.every((name) => PURE_NAMES.has(name)))
      if (NETWORK_PACKAGES.test(one.specifier) && !is_pure) report(one, `imports ${one.specifier}`)
      const is_door = file.path === 'packages/extension/src/index.ts'
      if (one.names.includes('callVendor') && !is_door) report(one, 'imports callVendor')
    }
    visit(file, {
      CallExpression(node) {
        if (/^(?:globalThis\.)?fetch$/.test(calleeOf(node))) report(node, 'calls fetch')
      },
      NewExpression(node) {
        const name = node.callee.type === 'Identifier' ? node.callee.name : ''
        if (name === 'WebSocket' || name === 'EventSource') report(node, `opens a ${name}`)
      },
    })
  },
)

const env = rule(
  'env-place',
  'process.env only in config.ts and in what is read before it',
  (file) => isServerCode(file) && !/^server\/src\/config(-database)?\.ts$/.test(file.path),
  (file, report) => {
    visit(file, {
      MemberExpression(node) {
        if (node.object.type === 'Identifier' && dotted(node) === 'process.env')
          report(node, 'reads process.env')
      },
      ImportDeclaration(node) {
        const is_process = node.source.value === 'node:process' || node.source.value === 'process'
        const takes_env = node.specifiers.some(
          (one) => one.type === 'ImportSpecifier' && one.local.name === 'env',
        )
        if (is_process && takes_env) report(node, 'reads process.env')
      },
    })
  },
)

const clock = rule(
  'clock',
  'modules ask the clock for the time, never the machine',
  isDomain,
  (file, report) => {
    visit(file, {
      CallExpression(node) {
        const callee = calleeOf(node)
        if (callee === 'Date.now' || callee === 'Date') report(node, `calls ${callee}()`)
      },
      NewExpression(node) {
        const is_date = node.callee.type === 'Identifier' && node.callee.name === 'Date'
        if (is_date && node.arguments.length === 0) report(node, 'makes new Date() without an argument')
      },
    })
  },
)

const randomness = rule(
  'randomness',
  'Math.random spreads pauses in the kernel, nothing else: ids are from kernel/ids, secrets from node:crypto',
  (file) =>
    (isServerCode(file) && !file.path.startsWith('server/src/kernel/')) ||
    /^packages\/extension\/src\/.*\.ts$/.test(file.path),
  (file, report) => {
    visit(file, {
      MemberExpression(node) {
        if (dotted(node) === 'Math.random') report(node, 'uses Math.random')
      },
    })
  },
)

const ARITHMETIC = new Set(['+', '-', '*', '/', '%', '**'])

const floats = rule(
  'floats',
  'modules count in bigint: no parseFloat, no toFixed, no arithmetic on Number(…) or with fractions',
  (file) => isServerCode(file) && moduleOf(file.path) !== undefined,
  (file, report) => {
    visit(file, {
      CallExpression(node) {
        const callee = calleeOf(node)
        const is_number =
          callee === 'Number.parseFloat' || callee === 'parseFloat' || /\.to(?:Fixed|Precision)$/.test(callee)
        if (is_number || endsWithToFixed(node))
          report(node, `calls ${callee || 'toFixed'}; amounts are integers, see kernel/money`)
      },
      BinaryExpression(node) {
        if (!ARITHMETIC.has(node.operator)) return
        for (const side of [node.left, node.right]) {
          if (side.type === 'CallExpression' && calleeOf(side) === 'Number' && !isOfTruth(side))
            report(node, 'does arithmetic on Number(…)')
          if (side.type === 'Literal' && typeof side.value === 'number' && !Number.isInteger(side.value)) {
            report(node, `does arithmetic with the fraction ${side.raw ?? side.value}`)
          }
        }
      },
    })
  },
)

function endsWithToFixed(node: CallExpression): boolean {
  const { callee } = node
  if (callee.type !== 'MemberExpression' || callee.computed || callee.property.type !== 'Identifier')
    return false
  return callee.property.name === 'toFixed' || callee.property.name === 'toPrecision'
}

/** `Number(a.is_paid)` and `Number(a === null)` are one or nought: sorting by a truth computes no amount. */
function isOfTruth(call: CallExpression): boolean {
  const [argument] = call.arguments
  if (argument === undefined) return false
  if (argument.type === 'BinaryExpression') return /^(?:[=!]==?|[<>]=?)$/.test(argument.operator)
  return /(?:^|\.)(?:is|has|may)_/.test(dotted(argument))
}

/** What a transaction must not wait for. */
const WORLD_CALLS = new Set([
  'callVendor',
  'callGateway',
  'fetch',
  'setTimeout',
  'sleep',
  'delay',
  'spawn',
  'execFile',
  'exec',
])

const transactions = rule(
  'in-transaction',
  'inside a transaction: no network, no sleep, no second use of db',
  isServerCode,
  (file, report) => {
    // Functions with a `tx: Tx` and those handed to `.transact(` run inside a transaction.
    let depth = 0
    const inside = new Set<Node>()
    const enter = (node: Node): void => {
      if (isTransactional(node) || inside.has(node)) {
        inside.add(node)
        depth++
      }
    }
    const leave = (node: Node): void => {
      if (inside.delete(node)) depth--
    }
    visit(file, {
      FunctionDeclaration: enter,
      'FunctionDeclaration:exit': leave,
      FunctionExpression: enter,
      'FunctionExpression:exit': leave,
      ArrowFunctionExpression: enter,
      'ArrowFunctionExpression:exit': leave,
      CallExpression(node) {
        const callee = calleeOf(node)
        if (depth > 0) {
          if (WORLD_CALLS.has(callee.split('.').at(-1) ?? ''))
            report(node, `calls ${callee} inside a transaction`)
          if (callee.startsWith('db.'))
            report(node, `calls ${callee} inside a transaction; use the tx that is open`)
        }
        if (callee.endsWith('.transact')) for (const argument of node.arguments) inside.add(argument)
      },
    })
  },
)

function isTransactional(node: Node): boolean {
  if (
    node.type !== 'FunctionDeclaration' &&
    node.type !== 'FunctionExpression' &&
    node.type !== 'ArrowFunctionExpression'
  ) {
    return false
  }
  return node.params.some((parameter) => typeNameOf(parameter) === 'Tx')
}

/** The name of a parameter's annotated type: `Tx` for `tx: Tx`. */
export function typeNameOf(parameter: Node): string | undefined {
  if (!('typeAnnotation' in parameter) || !parameter.typeAnnotation) return undefined
  const annotation = parameter.typeAnnotation
  if (annotation.type !== 'TSTypeAnnotation' || annotation.typeAnnotation.type !== 'TSTypeReference')
    return undefined
  const { typeName } = annotation.typeAnnotation
  return typeName.type === 'Identifier' ? typeName.name : undefined
}

const HANDLES = new Set(['Sql', 'Tx', 'Db'])

const firstParameter = rule(
  'first-parameter',
  'the database handle is the first parameter, and there is one of them',
  (file) => isServerCode(file) && moduleOf(file.path) !== undefined,
  (file, report) => {
    visit(file, {
      FunctionDeclaration(node) {
        for (const [position, parameter] of node.params.entries()) {
          const handle = typeNameOf(parameter)
          if (handle !== undefined && HANDLES.has(handle) && position > 0) {
            report(parameter, `${node.id?.name ?? 'a function'} takes ${handle} as parameter ${position + 1}`)
          }
        }
      },
    })
  },
)

/** Where code touches the world, time, chance and transactions. */
export const worldRules: readonly Rule[] = [
  network,
  env,
  clock,
  randomness,
  floats,
  transactions,
  firstParameter,
]
