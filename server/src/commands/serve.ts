import { boot } from './boot.ts'

/** Runs the server until it is told to stop. */
export async function serve(): Promise<void> {
  // The database starts in processes of its own; the rest of the program is loaded meanwhile.
  const [booted, { runServer }] = await Promise.all([boot(), import('./serving.ts')])
  await runServer(booted)
}
