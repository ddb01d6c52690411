type Environment = Readonly<Record<string, string | undefined>>

/** A variable some product's installation has already, and the name it has here. */
interface Alias {
  alias: string
  env: string
  /** Brings a value the product knows to what it is here. */
  read?: (text: string) => string
}

/**
 * The names products gave their settings before they ran on Kopilka: whoever moves keeps his environment.
 * A name of our own, when it is there too, must say the same.
 */
const ALIASES: readonly Alias[] = [
  { alias: 'ROBOKASSA_MERCHANT_LOGIN', env: 'KOPILKA_GATEWAY_ROBOKASSA_MERCHANT_LOGIN' },
  { alias: 'ROBOKASSA_PASSWORD_1', env: 'KOPILKA_GATEWAY_ROBOKASSA_PASSWORD1' },
  { alias: 'ROBOKASSA_PASSWORD_2', env: 'KOPILKA_GATEWAY_ROBOKASSA_PASSWORD2' },
  { alias: 'ROBOKASSA_TEST_MODE', env: 'KOPILKA_GATEWAY_ROBOKASSA_IS_TEST', read: readFlag },
]

/** The environment with our own names in it, and what contradicts itself; no problem shows a value. */
export function withOwnNames(env: Environment): { env: Environment; problems: string[] } {
  const named: Record<string, string | undefined> = { ...env }
  const problems: string[] = []
  for (const { alias, env: own, read = same } of ALIASES) {
    for (const [from, to, translate] of [
      [alias, own, read],
      [`${alias}_FILE`, `${own}_FILE`, same],
    ] as const) {
      const value = env[from]
      if (value === undefined || value === '') continue
      const text = translate(value)
      if (env[to] === undefined || env[to] === '') named[to] = text
      else if (env[to] !== text) problems.push(`${from}: says something else than ${to}. Keep one of them.`)
    }
  }
  return { env: named, problems }
}

/** Every alias that is set, with the name it stands for; for `doctor`. */
export function aliasesInUse(env: Environment): { alias: string; env: string }[] {
  const is_set = (variable: string): boolean => env[variable] !== undefined && env[variable] !== ''
  return ALIASES.flatMap(({ alias, env: own }) =>
    is_set(alias) || is_set(`${alias}_FILE`) ? [{ alias, env: own }] : [],
  )
}

function same(text: string): string {
  return text
}

/** `1`, `0`, `True` and the like, as other products write a switch. */
function readFlag(text: string): string {
  const word = text.trim().toLowerCase()
  if (['1', 'true', 'yes', 'on'].includes(word)) return 'true'
  return ['0', 'false', 'no', 'off'].includes(word) ? 'false' : text
}
