import { spawn } from 'node:child_process'
import path from 'node:path'

export interface RunOptions {
  cwd: string
  /** The process is ended after this long, and counts as failed. */
  limit_ms?: number
  env?: Readonly<Record<string, string>>
}

export interface RunResult {
  /** 0 when all went well; 128 and more when a signal ended the process. */
  code: number
  took_ms: number
}

/**
 * Runs a program with this process's output and waits for its end. This Node comes first on its PATH, so that
 * whatever it starts by the name `node` is not an older one of the system. Signals that end us are passed on.
 */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const started = performance.now()
  const home = path.dirname(process.execPath)
  const child = spawn(program, args, {
    cwd: options.cwd,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...options.env, PATH: [home, process.env['PATH'] ?? ''].join(path.delimiter) },
    ...(options.limit_ms === undefined ? {} : { timeout: options.limit_ms }),
  })
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, pass)
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exit_code, signal) => resolve(exit_code ?? (signal === null ? 1 : 128)))
    })
    return { code, took_ms: performance.now() - started }
  } finally {
    for (const signal of signals) process.off(signal, pass)
  }
}
