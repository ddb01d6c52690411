import { plainEmail } from './users.ts'

/** Domains whose mailboxes are one, by the name they are compared under. */
const DOMAINS: Readonly<Record<string, string>> = {
  'googlemail.com': 'gmail.com',
  'ya.ru': 'yandex.ru',
  'yandex.com': 'yandex.ru',
  'yandex.by': 'yandex.ru',
  'yandex.kz': 'yandex.ru',
  'yandex.ua': 'yandex.ru',
}

/**
 * The mailbox an address leads to, for telling whether two addresses are one person's; never for sending.
 * What follows a plus is the reader's own label nearly everywhere. Gmail does not look at dots, Yandex takes
 * a dash for a dot.
 */
export function mailboxOf(email: string): string {
  const plain = plainEmail(email)
  const at = plain.lastIndexOf('@')
  const domain = DOMAINS[plain.slice(at + 1)] ?? plain.slice(at + 1)
  const name = plain.slice(0, at)
  // A name that is nothing but a label is no alias of anybody.
  const base = name.indexOf('+') > 0 ? name.slice(0, name.indexOf('+')) : name
  if (domain === 'gmail.com') return `${base.replaceAll('.', '')}@${domain}`
  if (domain === 'yandex.ru') return `${base.replaceAll('-', '.')}@${domain}`
  return `${base}@${domain}`
}
