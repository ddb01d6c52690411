import { boot } from './boot.ts'

/** Runs the server until it is told to stop. */
export async function serve(): Promise<void> {
  const [booted, { runServer }] = await Promise.all([boot(), loadServer()])
  await runServer(booted)
}

/** The database starts in processes of its own; the rest of the program is loaded meanwhile. */
async function loadServer() {
  const serving = await import('./serving.ts')
  const { loadAhead } = await import('../app.ts')
  await loadAhead()
  return serving
}
