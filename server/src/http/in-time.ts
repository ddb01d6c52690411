/** What `work` answers, or `instead` when it throws or takes longer; what comes later is dropped. */
export async function inTime<T>(work: () => T | Promise<T>, limit_ms: number, instead: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const too_late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(instead), limit_ms)
  })
  try {
    return await Promise.race([work(), too_late])
  } catch {
    return instead
  } finally {
    clearTimeout(timer)
  }
}
