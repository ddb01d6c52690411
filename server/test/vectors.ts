/** A value of a vector file: what a vendor's example is made of. */
type Json = string | number | boolean | null | Json[] | { [name: string]: Json }

/** Sentences for people: they prove nothing. */
const NOTES = ['note', 'about', 'rule', 'layout', 'requestBody']

/**
 * Alters one value of the vectors after another and checks each time. Answers the paths of those whose
 * alteration nobody noticed: they are examples that no test reads. `check` throws when something is not as
 * the vectors say.
 */
export async function unnoticed<T>(vectors: T, check: (vectors: T) => unknown): Promise<string[]> {
  await check(vectors)
  const paths = pathsOf(vectors as Json).filter((path) => !NOTES.includes(path.at(-1) ?? ''))
  const missed: string[] = []
  for (const path of paths) {
    try {
      await check(alteredAt(vectors as Json, path) as T)
      missed.push(path.join('.'))
    } catch {
      // It was noticed.
    }
  }
  return missed
}

function pathsOf(value: Json, path: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...path]]
  return Object.entries(value).flatMap(([name, inner]) => pathsOf(inner, [...path, name]))
}

function alteredAt(value: Json, [name, ...rest]: readonly string[]): Json {
  if (name === undefined) return altered(value)
  const copy: Json = Array.isArray(value) ? [...value] : { ...(value as Record<string, Json>) }
  const fields = copy as Record<string, Json>
  fields[name] = alteredAt(fields[name] ?? null, rest)
  return copy
}

/** One sign in the middle, which is nowhere a sign of a number, an address or an encoding. */
function altered(value: Json): Json {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  if (typeof value !== 'string') return 'something'
  const middle = Math.floor(value.length / 2)
  return `${value.slice(0, middle)}~${value.slice(middle + 1)}`
}
