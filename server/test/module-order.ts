/**
 * The server's modules, lowest first. A module may import only the doors of modules before it; what has to
 * reach upward goes through events and `server/src/reactions.ts`. `npm run new module` adds a line here.
 */
export const MODULES: readonly string[] = [
  'identity',
  'customers',
  'ledger',
  'catalog',
  'promotions',
  'payments',
  'orders',
  'subscriptions',
  'policy',
  'usage',
  'notifications',
  'work',
  'checks',
  'agents',
  'telegram',
  'webchat',
  'admin',
]
