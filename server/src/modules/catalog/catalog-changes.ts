const listeners = new Set<() => void>()

/** Tells this process that the catalog is changing in a transaction that has not committed yet. */
export function catalogChanged(): void {
  for (const listener of listeners) listener()
}

/** Hears of every change made by this process. Answers how to stop hearing. */
export function onCatalogChange(listener: () => void): () => void {
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
  }
}
