/**
 * The server's settings: durable commits on a machine of one or two cores and one or two gigabytes that it
 * shares with Kopilka itself. Of two settings with one name the later wins, so an operator's own come last.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  // Reachable from this machine only, by TCP only: a socket file would have a path limit of 107 bytes.
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // Pools of 10 to 20 for the API, the worker, the bot and the queue, and room for a second process and an
  // operator. A connection costs 2 to 10 MB, so many more would not fit in memory.
  max_connections: '100',
  // A tenth of a small machine; hot wallets and their indexes fit, the rest is left to the system's cache.
  shared_buffers: '128MB',
  // What planning may assume to be cached in all: half a gigabyte, not the default of 4 GB.
  effective_cache_size: '512MB',
  // Flash disks: a random page costs about the same as the next one. The default of 4 is for spinning disks.
  random_page_cost: '1.1',
  // An answered payment survives a power cut. These are the defaults, said out loud.
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // After a checkpoint most of the log is whole pages, which compress well: less to write at each commit.
  wal_compression: 'on',
  // The default, said because clusters are made without: a new file of the log has all its room on the disk.
  wal_init_zero: 'on',
  // About so much is kept on disk and replayed after a crash: seconds on a flash disk.
  max_wal_size: '1GB',
  // Compiling a plan takes tens of milliseconds; none of our statements runs long enough to earn it back.
  jit: 'off',
  // One report must not take both cores from payments, and parallel work needs shared memory that
  // containers limit to 64 MB.
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  // A report gone wrong fails before it fills the disk the ledger is on.
  temp_file_limit: '2GB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // The log tells of the server, not of statements: those carry people's data, and Kopilka reports its own
  // errors.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_checkpoints: 'off',
}

/** The arguments of `postgres`: cluster, port, our settings, then `flags` (`name=value` each). */
export function serverArguments(cluster: string, port: number, flags: readonly string[]): string[] {
  const settings = [...Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`), ...flags]
  return ['-D', cluster, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])]
}
