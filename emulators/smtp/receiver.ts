import { SMTPServer } from 'smtp-server'
import type { Kit, Store } from '../emulator.ts'
import type { SmtpSettings } from '../smtp.ts'
import { readMail } from './mails.ts'
import type { CaughtMail } from './mails.ts'

/** A mail of ours is a few kilobytes; this bounds what a loop can fill. */
const SIZE_MAX = 10_485_760

/**
 * Listens for mails. Faults: `error_500` refuses for now (451), `error_429` refuses because of too many
 * (421), `lose` takes a mail and forgets it, `timeout_before_charge` does not answer, `timeout_after_charge`
 * keeps it and does not.
 */
export async function startReceiver(
  kit: Kit<SmtpSettings>,
  mails: Store<CaughtMail>,
  host: string,
): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = new SMTPServer({
    size: SIZE_MAX,
    authOptional: kit.settings().user === '',
    allowInsecureAuth: true,
    // The built-in certificate is for tests; this server is nothing else.
    logger: false,
    disableReverseLookup: true,
    closeTimeout: 100,
    onAuth({ username, password }, _session, done) {
      const wanted = kit.settings()
      if (username === wanted.user && password === wanted.password) done(null, { user: wanted.user })
      else done(refusal(535, 'Authentication credentials invalid'))
    },
    onData(stream, { envelope }, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', done)
      stream.on('end', () => {
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address
        const to = envelope.rcptTo.map(({ address }) => address)
        const sent = { raw: Buffer.concat(chunks), from, to }
        take(kit, mails, sent, stream.sizeExceeded).then((answer) => {
          if (answer !== 'silence') done(answer)
        }, done)
      })
    },
  })
  server.on('error', (error) => process.stderr.write(`smtp emulator: ${error.message}\n`))
  await new Promise<void>((resolve) => server.listen(kit.settings().smtp_port, host, () => resolve()))
  const address = server.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

async function take(
  kit: Kit<SmtpSettings>,
  mails: Store<CaughtMail>,
  sent: { raw: Buffer; from: string; to: string[] },
  is_too_large: boolean,
): Promise<null | 'silence' | Error> {
  const say = (status: number): void =>
    kit.logRequest({
      method: 'DATA',
      path: sent.to.join(', '),
      status,
      body: sent.raw.toString('utf8', 0, 2000),
    })
  if (is_too_large) return refused(552, 'Message size exceeds the maximum')
  if (kit.takeFault('error_500')) return refused(451, 'Try again later')
  if (kit.takeFault('error_429')) return refused(421, 'Too many messages')
  if (kit.takeFault('timeout_before_charge')) return 'silence'
  const id = `mail_${kit.random.hex(12)}`
  const mail = await readMail(sent.raw, {
    id,
    from: sent.from,
    to: sent.to,
    received_at: kit.now().toISOString(),
  })
  if (!kit.takeFault('lose')) mails.add(id, mail)
  say(250)
  return kit.takeFault('timeout_after_charge') ? 'silence' : null

  function refused(status: number, message: string): Error {
    say(status)
    return refusal(status, message)
  }
}

function refusal(code: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode: code })
}
