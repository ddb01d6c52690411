import type { Tx } from './db.ts'
import { assert } from './errors.ts'
import type { JobQueue } from './jobs.ts'

/**
 * A kind of event. `name` is `noun.past_participle`; the payload holds ids and the facts that cannot be
 * looked up later. Payloads are JSON: amounts as strings of digits or numbers, moments as ISO texts.
 */
export interface EventType<Payload> {
  readonly name: string
  /** One sentence for the page of events; what is true when this is published. */
  readonly description: string
  readonly payload?: Payload
}

const declared = new Map<string, EventType<unknown>>()

/** Declares a kind of event; lives in the `events.ts` of the module that knows. */
export function eventType<Payload>(name: string, description: string): EventType<Payload> {
  const type: EventType<Payload> = { name, description }
  declared.set(name, type)
  return type
}

/** Every kind of event of the modules that are loaded, by name. */
export function eventTypes(): EventType<unknown>[] {
  return [...declared.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** Runs in the publisher's transaction, on all events published together: both, or neither. No network. */
export type WithinReaction<Payload> = (tx: Tx, payloads: readonly Payload[]) => Promise<void>
/** Runs as a job after the commit, at least once: must be repeatable. */
export type AfterReaction<Payload> = (payload: Payload, job_id: string) => Promise<void>

interface Reactions {
  within: WithinReaction<never>[]
  after: { queue: string; reaction: AfterReaction<never> }[]
}

export interface Events {
  /** Adds a reaction that must be true together with the event. */
  within<Payload>(type: EventType<Payload>, reaction: WithinReaction<Payload>): void
  /** Adds a reaction that tells the world; `name` names its queue: `event.name/name`. */
  after<Payload>(type: EventType<Payload>, name: string, reaction: AfterReaction<Payload>): void
  /** Runs the `within` reactions and writes one job per event and `after` reaction, in this transaction. */
  publish<Payload>(tx: Tx, type: EventType<Payload>, ...payloads: readonly Payload[]): Promise<void>
  /** Gives every `after` reaction its worker. */
  startWorkers(jobs: JobQueue): Promise<void>
  /** Names of all queues that `after` reactions use. */
  queues(): string[]
}

/** The wiring of events to reactions for one process; filled by `reactions.ts`. */
export function createEvents(jobs: JobQueue): Events {
  const table = new Map<string, Reactions>()
  const reactionsOf = (name: string): Reactions => {
    const found = table.get(name) ?? { within: [], after: [] }
    table.set(name, found)
    return found
  }
  return {
    within: (type, reaction) => {
      reactionsOf(type.name).within.push(reaction)
    },
    after: (type, name, reaction) => {
      const queue = `${type.name}/${name}`
      const { after } = reactionsOf(type.name)
      assert(!after.some((entry) => entry.queue === queue), `two reactions are called ${queue}`)
      after.push({ queue, reaction: reaction })
    },
    publish: async (tx, type, ...payloads) => {
      const reactions = table.get(type.name)
      if (!reactions || payloads.length === 0) return
      for (const reaction of reactions.within) await reaction(tx, payloads as readonly never[])
      for (const { queue } of reactions.after) {
        await jobs.enqueueMany(
          tx,
          queue,
          payloads.map((payload) => ({ data: payload as object })),
        )
      }
    },
    startWorkers: async (workers) => {
      for (const { after } of table.values()) {
        for (const { queue, reaction } of after) {
          await workers.work(queue, async (job) => reaction(job.data as never, job.id))
        }
      }
    },
    queues: () => [...table.values()].flatMap(({ after }) => after.map((entry) => entry.queue)),
  }
}
