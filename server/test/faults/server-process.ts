import { startApp } from '../../src/app.ts'
import { settingsOf } from '../world-settings.ts'

/**
 * A server that is made to be killed: told what to run with on its command line, it says when it is ready.
 */
const { database_url, yookassa_url, port } = JSON.parse(process.argv[2] ?? '{}') as {
  database_url: string
  yookassa_url: string
  port: number
}
await startApp({ ...settingsOf(database_url, yookassa_url), port })
process.send?.('ready')
