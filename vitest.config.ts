import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{server,emulators,packages,extensions,scripts,bench}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/data/**'],
    globalSetup: ['server/test/global-setup.ts'],
    setupFiles: ['server/test/child-processes.ts'],
    pool: 'forks',
    isolate: false,
    // What production runs is tested: Node's own modules, whose types Node takes away. It also costs a tenth
    // less than modules that vite rewrites; there is no vi.mock then, which the house rules do without.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    // One more than the two cores of the smallest machine: tests wait a quarter of their time.
    maxWorkers: 3,
    // As many as there are gateways: they wait for their vendors, not for this machine.
    maxConcurrency: 10,
    // No test claims to be this fast: a machine may have other work beside three workers.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    coverage: {
      provider: 'v8',
      reportOnFailure: true,
      include: ['server/src/**/*.ts', 'packages/extension/src/**/*.ts'],
      exclude: ['**/*.test.ts', '**/*.gen.ts'],
      reporter: ['text-summary', 'json-summary'],
    },
  },
})
