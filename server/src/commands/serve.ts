import { boot, databaseIsOnItsWay } from './boot.ts'

/** Runs the server until it is told to stop. */
export async function serve(): Promise<void> {
  const [booted, { runServer }] = await Promise.all([boot({ goes_ahead: true }), loadServer()])
  await runServer(booted)
}

/** The database starts in processes of its own; the rest of the program is loaded meanwhile. */
async function loadServer() {
  await databaseIsOnItsWay()
  const serving = await import('./serving.ts')
  const { loadAhead } = await import('../app.ts')
  await loadAhead()
  return serving
}
