import { createTransport } from 'nodemailer'

export interface MailSettings {
  /** `smtp://user:password@host:587`, or `smtps://…:465`. */
  smtp_url: string
  /** `Kopilka <no-reply@example.com>` or only the address. */
  from: string
}

/** One mail. */
export interface OutgoingMail {
  to: string
  subject: string
  text: string
  /** The same for every attempt to send this mail: the mailbox then shows it once. */
  message_id: string
}

export interface Mailer {
  /** Sends one mail. Throws what the server or the network said; the caller tries again. */
  send(mail: OutgoingMail): Promise<void>
  close(): void
}

const TIMEOUT_MS = 15_000
const CONNECTIONS = 2

/**
 * Sends mails by SMTP. A server that offers TLS is spoken to by TLS; one beyond this machine has to offer it.
 */
export function createMailer(settings: MailSettings): Mailer {
  const url = new URL(settings.smtp_url)
  const is_local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  const is_tls = url.protocol === 'smtps:'
  const domain = /@([\w.-]+)/.exec(settings.from)?.[1] ?? 'kopilka.local'
  const transport = createTransport({
    pool: true,
    maxConnections: CONNECTIONS,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (is_tls ? 465 : 587) : Number(url.port),
    secure: is_tls,
    requireTLS: !is_tls && !is_local,
    ignoreTLS: is_local && !is_tls,
    ...(url.username === ''
      ? {}
      : { auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } }),
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    // A mail of ours holds nothing that would have to be fetched.
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    send: async ({ to, subject, text, message_id }) => {
      await transport.sendMail({
        from: settings.from,
        to: { name: '', address: to },
        subject,
        text,
        messageId: `<${message_id}@${domain}>`,
        headers: { 'Auto-Submitted': 'auto-generated' },
      })
    },
    close: () => transport.close(),
  }
}
