/** How often a call is made again that the server had no time for. */
const SHED_MAX = 40

/**
 * Asks, and asks again when a machine that is busy with other tests says so: the server does that before it
 * looks at anything, and like any client this one then comes back later.
 */
export async function askUntilHeard<A extends { status: number; text: string }>(
  ask: () => Promise<A>,
): Promise<A> {
  for (let left = SHED_MAX; ; left--) {
    const answer = await ask()
    const is_shed = answer.status === 503 && answer.text.includes('"code":"overloaded"')
    if (!is_shed || left === 0) return answer
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}
