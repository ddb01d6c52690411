import path from 'node:path'

/**
 * Runs in every worker before its tests. With coverage vitest forbids the compile cache to the worker and to
 * whatever that starts; but coverage is not taken in processes that tests start, and these compile the whole
 * server each time, for a second. They share the cache that the server itself uses.
 */
delete process.env['NODE_DISABLE_COMPILE_CACHE']
process.env['NODE_COMPILE_CACHE'] = path.resolve(import.meta.dirname, '../../node_modules/.cache/kopilka')
