/**
 * What members of staff may be allowed, one word per noun and verb, with what it lets them do. Routes name
 * one of these as `who.staff`. A word that is a scope of API keys too opens the same routes to both.
 */
export const PERMISSIONS = {
  'customers:read': 'See customers and their facts.',
  'customers:write': 'Make customers and change their facts.',
  'organizations:read': 'See organizations, their members and shared wallets.',
  'organizations:write': 'Change organizations, members and limits in their place.',
  'wallets:read': 'See wallets, grants and transfers.',
  'grants:write': 'Give units.',
  'spends:write': 'Use up units in a customer’s place.',
  'holds:write': 'Place, capture and release holds.',
  'adjustments:write': 'Correct balances.',
  'transfers:write': 'Move units between customers.',
  'catalog:read': 'See products, prices and units.',
  'catalog:write': 'Change products, prices, units, meters and rate cards.',
  'orders:read': 'See orders.',
  'orders:write': 'Place and cancel orders.',
  'payments:read': 'See payments, refunds and what the gateways told.',
  'payments:write': 'Capture and cancel payments, repeat notifications.',
  'refunds:write': 'Give money back.',
  'usage:read': 'See what was used and what it cost.',
  'usage:write': 'Record use.',
  'webhooks:read': 'See endpoints and deliveries.',
  'webhooks:write': 'Change endpoints, repeat deliveries.',
  'reports:read': 'See the owner’s figures.',
  'books:verify': 'Check the invariants of the books.',
  'approvals:write': 'Decide what somebody else asked for above a limit.',
  'users:read': 'See users, their sessions and identities.',
  'users:write': 'Disable users and end their sessions.',
  'users:impersonate': 'Look through a user’s eyes; logged and shown.',
  'personal_data:export': 'Take out everything known of a person.',
  'personal_data:erase': 'Forget a person for good.',
  'audit:read': 'Read the audit log.',
  'staff:read': 'See the staff and the roles.',
  'staff:write': 'Appoint staff to roles that hold no more than one’s own.',
  'roles:write': 'Make roles that hold no more than one’s own.',
  'settings:write': 'Change settings of the installation.',
  'api_keys:write': 'Make keys that hold no more than one’s own, see and revoke keys.',
  'installation:own': 'Stand above all: owners only.',
} as const satisfies Readonly<Record<string, string>>

export type Permission = keyof typeof PERMISSIONS

const ALL = Object.keys(PERMISSIONS) as Permission[]
const READS = ALL.filter((word) => word.endsWith(':read') && word !== 'audit:read' && word !== 'staff:read')

/** The roles every installation has. New permissions reach them with a new version. */
export const BUILT_IN_ROLES: Readonly<Record<string, readonly Permission[]>> = {
  owner: ALL,
  admin: ALL.filter((word) => word !== 'installation:own'),
  support: [
    ...READS,
    'customers:write',
    'grants:write',
    'adjustments:write',
    'refunds:write',
    'users:write',
    'users:impersonate',
    'personal_data:export',
  ],
  finance: [
    ...READS,
    'payments:write',
    'refunds:write',
    'adjustments:write',
    'approvals:write',
    'books:verify',
    'audit:read',
  ],
  developer: [
    ...READS,
    'catalog:write',
    'usage:write',
    'webhooks:write',
    'books:verify',
    'settings:write',
    'api_keys:write',
  ],
  read_only: READS,
}

/** Whether a word is a permission of this version; a role may still hold words of another one. */
export function isPermission(word: string): word is Permission {
  return Object.hasOwn(PERMISSIONS, word)
}

/** What is wanted and not held; `*` holds everything. */
export function lackingOf(held: ReadonlySet<string>, wanted: Iterable<string>): string[] {
  return held.has('*') ? [] : [...new Set(wanted)].filter((word) => !held.has(word))
}

/**
 * The scopes of API keys that a holder of these permissions may give: those with the same words, and for
 * owners only `admin` and `*`, which open everything.
 */
export function scopesWithin(permissions: ReadonlySet<string>): ReadonlySet<string> {
  if (permissions.has('installation:own')) return new Set(['*'])
  return new Set([...permissions].filter(isPermission))
}
