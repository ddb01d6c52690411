const listeners = new Set<(session_ids: readonly string[] | 'all') => void>()

/**
 * Tells this process that sessions ended or what their users may do changed; `all` when it is not known
 * which. To be called after the commit. Other processes look again within five seconds.
 */
export function sessionsChanged(session_ids: readonly string[] | 'all'): void {
  for (const listener of listeners) listener(session_ids)
}

/** Calls back for every change until the answered function is called. */
export function onSessionsChanged(listener: (session_ids: readonly string[] | 'all') => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
