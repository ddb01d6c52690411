import type { Tx } from '#kernel/db'
import { translate } from '#kernel/locale'
import type { SecretBox } from '#kernel/secrets'
import type { PeopleKit } from './people-kit.ts'

/** A mail as a transport takes it. */
export interface MailMessage {
  to: string
  subject: string
  text: string
  /** The same for every attempt to send this mail. */
  message_id: string
}

/** What sends mails; made by transports/mail.ts. Throws OperationalError when it cannot now. */
export type SendMail = (message: MailMessage) => Promise<void>

/** Every mail about a user. `link` ones hold a token, so they lie in the queue sealed. */
export type MailKind =
  | 'confirm_registration'
  | 'already_registered'
  | 'confirm_email'
  | 'change_email'
  | 'address_taken'
  | 'email_changed'
  | 'reset_password'
  | 'password_changed'

interface QueuedMail {
  kind: MailKind | 'none'
  to: string
  locale: string
  values: Record<string, string>
}

export const MAIL_QUEUE = 'identity.mail'
const CONTEXT = 'identity.mail'

/**
 * Sends a mail after the commit, at least once. `none` puts a job into the queue that sends nothing: where an
 * answer must not tell whether a mail was sent, the work done is the same too.
 */
export async function queueMail(
  tx: Tx,
  { jobs, box }: PeopleKit,
  mail: { kind: MailKind | 'none'; to: string; locale: string | null; values?: Record<string, string> },
): Promise<void> {
  const queued: QueuedMail = { ...mail, locale: mail.locale ?? 'en', values: mail.values ?? {} }
  await jobs.enqueue(tx, MAIL_QUEUE, { data: { sealed: box.seal(JSON.stringify(queued), CONTEXT) } })
}

/** Sends one mail of the queue. Throws OperationalError; the job is then tried again. */
export async function sendQueuedMail(
  box: SecretBox,
  send: SendMail,
  job: { id: string; sealed: string },
): Promise<void> {
  const { kind, to, locale, values } = JSON.parse(box.open(job.sealed, CONTEXT)) as QueuedMail
  if (kind === 'none') return
  const plain = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, oneLine(value)]))
  const subject = translate(locale, `mail:${kind}.subject`, plain)
  const text = [translate(locale, `mail:${kind}.text`, plain), translate(locale, 'mail:footer', plain)].join(
    '\n\n',
  )
  await send({ to, subject, text: `${text}\n`, message_id: job.id })
}

/** What people wrote must not look like a line or a header of ours. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').slice(0, 2000)
}
