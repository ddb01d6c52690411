import { databaseClock } from '../../src/kernel/clock.ts'
import { createDb } from '../../src/kernel/db.ts'
import { webhookLab } from '../webhook-lab.ts'

/** A sender of webhooks that is made to be killed; says when it is ready. */
const database_url = process.argv[2] ?? ''
webhookLab(createDb({ url: database_url }), databaseClock(), { timeout_ms: 60_000 }).dispatcher()
process.send?.('ready')
