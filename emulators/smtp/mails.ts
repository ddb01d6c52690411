import PostalMime from 'postal-mime'

/** A mail as it was handed over. */
export interface CaughtMail {
  id: string
  /** Of the envelope. */
  from: string
  to: string[]
  subject: string
  /** The sender's own id; the same when a mail is sent again. */
  message_id: string
  text: string
  html: string | null
  headers: { key: string; value: string }[]
  /** Every address in the text. */
  links: string[]
  size: number
  received_at: string
}

/** Reads a raw mail. */
export async function readMail(
  raw: Buffer,
  envelope: { id: string; from: string; to: string[]; received_at: string },
): Promise<CaughtMail> {
  const mail = await PostalMime.parse(raw)
  const text = mail.text ?? ''
  return {
    ...envelope,
    subject: mail.subject ?? '',
    message_id: mail.messageId ?? '',
    text,
    html: mail.html ?? null,
    headers: mail.headers.map(({ key, value }) => ({ key, value })),
    links: [...text.matchAll(/https?:\/\/[^\s<>"]+/g)].map(([link]) => link),
    size: raw.length,
  }
}
