import type { FastifySchemaCompiler } from 'fastify'
import type { z } from 'zod'
import { safeParse } from 'zod/v4/core'
import type { $ZodIssue } from 'zod/v4/core'
import { InvalidRequest } from '#kernel/errors'

/** One wrong member: where it is (an RFC 6901 pointer) and what is wrong with it. */
interface Complaint {
  pointer: string
  detail: string
}

/** A caller mends a few members at a time; a body made to be wrong gets no long answer. */
const COMPLAINTS_MAX = 20
const POINTER_MAX = 200

/**
 * Checks the parts of a request with their Zod schemas. Pointers of a body's and a query's members stand
 * alone (`/lines/0/quantity`, `/limit`), those of headers start with `/headers`. A body that is not there
 * counts as an empty object where the schema insists on one, so that its missing members are named.
 */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const prefix = httpPart === 'headers' ? '/headers' : ''
  const check = (data: unknown) => {
    const result = safeParse(schema, data)
    if (result.success) return { value: result.data }
    const complaints = complaintsOf(result.error.issues, data, prefix)
    // A number can be no safe integer and over the maximum: one complaint a member is enough.
    const first = [...new Map(complaints.toReversed().map((one) => [one.pointer, one])).values()].toReversed()
    return { error: new InvalidRequest(first.slice(0, COMPLAINTS_MAX)) }
  }
  if (httpPart !== 'body') return check
  return (data: unknown) => {
    if (data !== null && data !== undefined) return check(data)
    const absent = safeParse(schema, undefined)
    return absent.success ? { value: absent.data } : check({})
  }
}

/** Turns Zod's issues into complaints; `data` is what was checked. */
function complaintsOf(issues: readonly $ZodIssue[], data: unknown, prefix = ''): Complaint[] {
  return issues.flatMap((issue) => {
    const at = prefix + issue.path.map((part) => `/${escapePointer(String(part))}`).join('')
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => complaint(`${at}/${escapePointer(key)}`, 'is not a member this takes'))
    }
    if (issue.code === 'invalid_union') {
      const branch = likeliestBranch(issue.errors)
      if (branch) return complaintsOf(branch, valueAt(data, issue.path), at)
    }
    if (issue.code === 'invalid_element' || issue.code === 'invalid_key') {
      return complaintsOf(issue.issues, valueAt(data, issue.path), at)
    }
    const is_missing = issue.code === 'invalid_type' && valueAt(data, issue.path) === undefined
    return [complaint(at, is_missing ? 'is missing' : issue.message)]
  })
}

function complaint(pointer: string, detail: string): Complaint {
  return { pointer: pointer.slice(0, POINTER_MAX), detail }
}

/**
 * Of several shapes the one the caller probably meant: it went wrong deepest inside, with the fewest
 * complaints.
 */
function likeliestBranch(branches: readonly (readonly $ZodIssue[])[]): readonly $ZodIssue[] | undefined {
  const inside = branches.filter(
    (issues) => issues.length > 0 && issues.every((issue) => issue.path.length > 0),
  )
  return inside.toSorted((a, b) => a.length - b.length)[0]
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let value = data
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = Reflect.get(value, part)
  }
  return value
}

function escapePointer(part: string): string {
  return part.replaceAll('~', '~0').replaceAll('/', '~1')
}
