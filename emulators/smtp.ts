import { createStore, defineEmulator, startEmulator } from './emulator.ts'
import type { BaseSettings, Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'
import type { CaughtMail } from './smtp/mails.ts'
import { registerPages } from './smtp/pages.ts'
import { startReceiver } from './smtp/receiver.ts'

export type { CaughtMail } from './smtp/mails.ts'

export interface SmtpSettings extends BaseSettings {
  smtp_port: number
  user: string
  password: string
}

/** A mail server that delivers nothing: what is handed over can be looked at. */
export const emulator = defineEmulator<SmtpSettings>({
  id: 'smtp',
  title: 'Mail (SMTP)',
  description: 'Takes mails by SMTP with STARTTLS and shows them on a page; delivers none.',
  settings: {
    smtp_port: {
      schema: { type: 'integer', minimum: 0, maximum: 65_535 },
      default: 0,
      description: 'Port of SMTP; 0 is a free one, said by `/server`. Read at the start.',
    },
    user: {
      schema: { type: 'string', maxLength: 100 },
      default: '',
      description: 'Name of AUTH; empty takes mails from anybody.',
    },
    password: {
      schema: { type: 'string', maxLength: 100 },
      default: '',
      description: 'Password of AUTH.',
      is_secret: true,
    },
  },
  create: createVendor,
})

/** A running mail server; `smtp_url` is what a client is set up with. */
export interface SmtpEmulator extends Emulator {
  smtp_url: string
}

/** Starts the emulator; close it when done. */
export async function startSmtpEmulator(options: EmulatorOptions<SmtpSettings> = {}): Promise<SmtpEmulator> {
  const running = await startEmulator(emulator, options)
  const answer = await running.app.inject({ method: 'GET', url: '/server' })
  return { ...running, smtp_url: answer.json<{ smtp_url: string }>().smtp_url }
}

function createVendor(kit: Kit<SmtpSettings>): Vendor {
  const mails = createStore<CaughtMail>(10_000)
  let address = { host: '', port: 0 }
  let stop = async (): Promise<void> => undefined
  const urlOf = (): string => {
    const { user, password } = kit.settings()
    const login = user === '' ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`
    return `smtp://${login}${address.host}:${address.port}`
  }
  return {
    collections: { mails },
    routes: (app) => registerPages(app, { mails, urlOf }),
    reset: () => mails.clear(),
    async start({ host }) {
      const receiver = await startReceiver(kit, mails, host)
      address = { host: host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host, port: receiver.port }
      stop = receiver.stop
    },
    close: () => stop(),
  }
}
