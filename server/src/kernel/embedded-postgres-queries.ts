import pg from 'pg'
import { sqlState } from './errors.ts'

/** One number for all who create the role and the database: they take turns. */
const ADVISORY_LOCK = 7_305_811_420_233_002n
/** A program that is still being loaded keeps the answer waiting: seconds, on a machine with much to do. */
const CONNECT_TIMEOUT_MS = 20_000
const QUERY_TIMEOUT_MS = 60_000

/** The role the application works as and the database it owns. */
export interface ApplicationRole {
  role: string
  password: string
  database: string
  /** Absent: as it is, for one who only attaches. */
  may_create_databases?: boolean | undefined
  /** The cluster was made a moment ago, so nobody has put anything into it. */
  is_new?: boolean | undefined
}

/**
 * Logs in as the application does and looks whether all is as it should be. False when the role, its
 * password, its rights or the database are missing or wrong. Throws what `pg` throws when the server cannot
 * be reached.
 */
export async function isRoleReady(url: string, wanted: ApplicationRole): Promise<boolean> {
  try {
    return await withClient(url, async (client) => {
      const { rows } = await client.query<{ is_ready: boolean }>(
        `
        select not r.rolsuper and r.rolcreatedb = coalesce($1, r.rolcreatedb) and d.datdba = r.oid as is_ready
        from pg_roles r join pg_database d on d.datname = current_database()
        where r.rolname = current_user`,
        [wanted.may_create_databases ?? null],
      )
      return rows[0]?.is_ready === true
    })
  } catch (error) {
    // 28P01 wrong password, 28000 no such role or not allowed in, 3D000 no such database.
    const state = sqlState(error)
    if (state === '28P01' || state === '28000' || state === '3D000') return false
    throw error
  }
}

/**
 * Creates or corrects the role and its database. Repeatable; at once from several processes too.
 * `maintenance_url` is the superuser's, in a database that is always there and is not to become ours.
 */
export async function ensureRole(maintenance_url: string, wanted: ApplicationRole): Promise<void> {
  await withClient(maintenance_url, async (client) => {
    const role = client.escapeIdentifier(wanted.role)
    const database = client.escapeIdentifier(wanted.database)
    await client.query('select pg_advisory_lock($1)', [ADVISORY_LOCK])
    const { rows } = await client.query<{ has_role: boolean; has_database: boolean }>(
      `
      select exists (select from pg_roles where rolname = $1) as has_role,
             exists (select from pg_database where datname = $2) as has_database`,
      [wanted.role, wanted.database],
    )
    // Not the superuser: rights that were revoked from it are really gone.
    const createdb = { true: 'createdb', false: 'nocreatedb', undefined: '' }[
      `${wanted.may_create_databases}`
    ]
    await client.query(`${rows[0]?.has_role ? 'alter' : 'create'} role ${role}
      login nosuperuser nocreaterole noreplication nobypassrls
      ${createdb} password ${client.escapeLiteral(wanted.password)}`)
    if (rows[0]?.has_database) {
      await client.query(`alter database ${database} owner to ${role}`)
    } else if (wanted.is_new) {
      // The empty database every new cluster comes with: a further one would take 0.2 s of the first start.
      await client.query(
        `alter database postgres rename to ${database}; alter database ${database} owner to ${role};
         comment on database ${database} is null`,
      )
    } else {
      // Copying files takes 0.15 s where the default, logging every page, takes 0.25 s. Not of template1:
      // that cannot be copied while somebody is connected to it.
      await client.query(`create database ${database} owner ${role} template template0 strategy file_copy`)
    }
  })
}

/** The statement that replaces a lost superuser password; for `postgres --single`, which asks for none. */
export function setPasswordStatement(role: string, password: string): string {
  return `alter role ${pg.escapeIdentifier(role)} password ${pg.escapeLiteral(password)}`
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'kopilka-start',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
  })
  // The statement under way fails too and reports it; without a listener the event would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
