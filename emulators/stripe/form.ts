/** A form with brackets in its names, read into objects and lists: `a[b][0][c]=1`, `expand[]=x`. */
export type FormValue = string | FormValue[] | { [name: string]: FormValue }

const NAME = /^([^[\]]{1,100})((?:\[[^[\]]{0,100}\]){0,10})$/

/** Reads a body or a query. Throws RangeError for a name that is no such path, or that says two things. */
export function parseForm(text: string): Record<string, FormValue> {
  const root = bare()
  for (const [name, value] of new URLSearchParams(text)) {
    const match = NAME.exec(name)
    if (!match) throw new RangeError(`Invalid parameter name: ${name.slice(0, 100)}`)
    const inner = [...(match[2] ?? '').matchAll(/\[([^[\]]*)\]/g)].map(([, key = '']) => key)
    put(root, [match[1] ?? '', ...inner], value)
  }
  return Object.fromEntries(Object.entries(root).map(([name, value]) => [name, withLists(value)]))
}

interface Branch {
  [name: string]: string | Branch
}

function bare(): Branch {
  return Object.create(null) as Branch
}

function put(branch: Branch, path: readonly string[], value: string): void {
  const [first = '', ...rest] = path
  const key = first === '' ? String(Object.keys(branch).length) : first
  if (rest.length === 0) {
    if (branch[key] !== undefined) throw new RangeError(`Parameter given twice: ${key}`)
    branch[key] = value
    return
  }
  const next = (branch[key] ??= bare())
  if (typeof next === 'string') throw new RangeError(`Parameter is a value and an object: ${key}`)
  put(next, rest, value)
}

/** A branch whose names are 0, 1, 2 … is a list. */
function withLists(value: string | Branch): FormValue {
  if (typeof value === 'string') return value
  const entries = Object.entries(value).map(([name, item]) => [name, withLists(item)] as const)
  const is_list = entries.every(([name], index) => name === String(index))
  return is_list ? entries.map(([, item]) => item) : Object.fromEntries(entries)
}
