import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigRefused, loadConfig, secretValues, showSettings, unknownSettings } from './config.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-config-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true })
})

function problemsOf(env: Record<string, string>): string {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigRefused) return String(error)
    throw error
  }
  return ''
}

describe('settings', () => {
  test('none is needed: the defaults are safe to try', () => {
    expect(loadConfig({})).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      data_directory: './data',
      mode: 'sandbox',
      roles: ['api', 'worker'],
      anonymous_per_minute: 100,
      cors_origins: [],
      trusted_proxies: [],
      log_level: 'info',
      shutdown_timeout_seconds: 25,
      gateways: {},
      database_url: undefined,
    })
  })

  test('are read from their variables; an empty one counts as absent', () => {
    const config = loadConfig({
      PORT: '9000',
      HOST: '',
      KOPILKA_ROLES: 'worker',
      KOPILKA_MODE: 'live',
      KOPILKA_BASE_URL: 'https://pay.example/',
      DATABASE_URL: 'postgres://k:p@db/k',
      KOPILKA_CORS_ORIGINS: 'https://a.example, https://b.example:8443',
      KOPILKA_TRUSTED_PROXIES: '10.0.0.0/8,::1',
    })
    expect(config).toMatchObject({
      port: 9000,
      host: '127.0.0.1',
      roles: ['worker'],
      mode: 'live',
      base_url: 'https://pay.example',
      database_url: 'postgres://k:p@db/k',
      cors_origins: ['https://a.example', 'https://b.example:8443'],
      trusted_proxies: ['10.0.0.0/8', '::1'],
    })
  })

  test('all that is wrong is said at once, with what to do and without a secret', () => {
    const text = problemsOf({
      PORT: '99999',
      KOPILKA_MODE: 'production',
      KOPILKA_ROLES: 'api,cook',
      DATABASE_URL: 'mysql://u:hunter2hunter2@h/d',
      KOPILKA_CORS_ORIGINS: '*',
      KOPILKA_TRUSTED_PROXIES: 'my-proxy',
      KOPILKA_METRICS_TOKEN: 'hunter2',
      KOPILKA_RETURN_URL_ORIGINS: 'https://shop.example/back',
    })
    for (const variable of [
      'PORT',
      'KOPILKA_MODE',
      'KOPILKA_ROLES',
      'DATABASE_URL',
      'KOPILKA_CORS_ORIGINS',
      'KOPILKA_TRUSTED_PROXIES',
      'KOPILKA_METRICS_TOKEN',
      'KOPILKA_RETURN_URL_ORIGINS',
    ]) {
      expect(text).toContain(`${variable}:`)
    }
    expect(text).not.toContain('hunter2')
  })

  test.each([
    ['PORT', '80 80'],
    ['PORT', '-1'],
    ['PORT', '0x50'],
    ['PORT', '1e3'],
    ['KOPILKA_ANONYMOUS_PER_MINUTE', '0'],
    ['KOPILKA_SHUTDOWN_TIMEOUT_SECONDS', '2.5'],
    ['KOPILKA_CORS_ORIGINS', 'null'],
    ['KOPILKA_CORS_ORIGINS', 'https://a.example/'],
    ['KOPILKA_BASE_URL', 'shop.example'],
    ['KOPILKA_ROLES', ','],
    ['KOPILKA_LOG_LEVEL', 'loud'],
  ])('%s=%s is refused', (variable, value) => {
    expect(problemsOf({ [variable]: value })).toContain(`${variable}:`)
  })

  test('webhooks reach this machine in the sandbox only, other private networks when they are named', () => {
    const live = { KOPILKA_MODE: 'live', KOPILKA_BASE_URL: 'https://pay.example' }
    for (const entry of ['127.0.0.1', '127.9.9.9', '::1', '0.0.0.0/0', '::/0', '10.0.0.0/8,127.0.0.0/8']) {
      expect(problemsOf({ ...live, KOPILKA_WEBHOOK_NETWORKS: entry })).toContain('KOPILKA_WEBHOOK_NETWORKS')
      expect(loadConfig({ KOPILKA_WEBHOOK_NETWORKS: entry }).webhook_networks).toEqual(entry.split(','))
    }
    expect(loadConfig({ ...live, KOPILKA_WEBHOOK_NETWORKS: '10.0.0.0/8' }).webhook_networks).toEqual([
      '10.0.0.0/8',
    ])
    expect(problemsOf({ KOPILKA_WEBHOOK_NETWORKS: 'intranet' })).toContain('KOPILKA_WEBHOOK_NETWORKS')
  })

  test('a live installation has to know its https address', () => {
    expect(problemsOf({ KOPILKA_MODE: 'live' })).toContain('KOPILKA_BASE_URL')
    expect(problemsOf({ KOPILKA_MODE: 'live', KOPILKA_BASE_URL: 'http://pay.example' })).toContain('https')
    expect(problemsOf({ KOPILKA_MODE: 'live', KOPILKA_BASE_URL: 'https://pay.example' })).toBe('')
  })
})

describe('the names a product gave its settings before', () => {
  const shop = {
    ROBOKASSA_MERCHANT_LOGIN: 'demo_shop',
    ROBOKASSA_PASSWORD_1: '1234567',
    ROBOKASSA_PASSWORD_2: 'second-password-of-the-shop',
    ROBOKASSA_TEST_MODE: '1',
  }
  const robokassa = {
    merchant_login: 'demo_shop',
    password1: '1234567',
    password2: 'second-password-of-the-shop',
    is_test: true,
  }

  test('are read as our own, from a file too, and their secrets are secrets', () => {
    const config = loadConfig(shop)
    expect(config.gateways).toEqual({ robokassa })
    expect(secretValues(config)).toEqual(expect.arrayContaining(['1234567', robokassa.password2]))
    expect(unknownSettings(shop)).toEqual([])
    const file = path.join(folder, 'robokassa-password')
    writeFileSync(file, `${robokassa.password2}\n`)
    const { ROBOKASSA_PASSWORD_2: _password, ...rest } = shop
    expect(loadConfig({ ...rest, ROBOKASSA_PASSWORD_2_FILE: file }).gateways).toEqual({ robokassa })
    expect(loadConfig({ ROBOKASSA_TEST_MODE: 'False' }).gateways).toEqual({ robokassa: { is_test: false } })
  })

  test('may stand beside our own when both say the same; a contradiction is refused without a secret', () => {
    const own = { KOPILKA_GATEWAY_ROBOKASSA_PASSWORD1: '1234567' }
    expect(loadConfig({ ...shop, ...own }).gateways).toEqual({ robokassa })
    const problem = problemsOf({ ...own, ROBOKASSA_PASSWORD_1: 'another-password-here' })
    expect(problem).toContain('ROBOKASSA_PASSWORD_1: says something else than KOPILKA_GATEWAY_ROBOKASSA')
    expect(problem).not.toContain('another-password-here')
  })
})

describe('secrets', () => {
  test('may lie in a file that the variable’s twin names', () => {
    const file = path.join(folder, 'database-url')
    writeFileSync(file, 'postgres://k:p@db/k\n')
    expect(loadConfig({ DATABASE_URL_FILE: file }).database_url).toBe('postgres://k:p@db/k')
    expect(problemsOf({ DATABASE_URL_FILE: file, DATABASE_URL: 'postgres://x' })).toContain('given twice')
    expect(problemsOf({ DATABASE_URL_FILE: path.join(folder, 'none') })).toContain('ENOENT')
    const key = path.join(folder, 'key')
    writeFileSync(key, 'live_0123456789abcdef\n')
    expect(loadConfig({ KOPILKA_GATEWAY_YOOKASSA_SECRET_KEY_FILE: key }).gateways).toEqual({
      yookassa: { secret_key: 'live_0123456789abcdef' },
    })
  })

  test('are masked when settings are shown, the rest of an address is not', () => {
    const env = {
      DATABASE_URL: 'postgres://kopilka:hunter2hunter2@db.internal/kopilka',
      KOPILKA_METRICS_TOKEN: 'hunter2hunter2hunter2',
    }
    const shown = showSettings(env)
    expect(JSON.stringify(shown)).not.toContain('hunter2')
    expect(shown.find((one) => one.env === 'DATABASE_URL')?.value).toContain('@db.internal/kopilka')
    expect(shown.find((one) => one.env === 'PORT')).toMatchObject({ value: '8080', is_default: true })
    expect(shown.every((one) => one.about.endsWith('.'))).toBe(true)
    expect(JSON.stringify(showSettings({ DATABASE_URL: 'mysql://u:hunter2@h/d' }))).not.toContain('hunter2')
  })

  test('are all named to the log', () => {
    const config = loadConfig({
      DATABASE_URL: 'postgres://k:p%40ssword1@db/k',
      KOPILKA_METRICS_TOKEN: 'metrics-token-0123',
      KOPILKA_GATEWAY_YOOKASSA_SHOP_ID: '123456',
      KOPILKA_GATEWAY_YOOKASSA_SECRET_KEY: 'live_key_value',
      KOPILKA_GATEWAY_ROBOKASSA_PASSWORD_1: 'first password',
    })
    expect(secretValues(config).toSorted()).toEqual([
      'first password',
      'live_key_value',
      'metrics-token-0123',
      'p@ssword1',
    ])
  })
})

describe('gateways', () => {
  test('are set by gateway and field; a dash is two underscores', () => {
    const config = loadConfig({
      KOPILKA_GATEWAY_YOOKASSA_SHOP_ID: '123456',
      KOPILKA_GATEWAY_YOOKASSA_HAS_RECEIPTS: 'true',
      KOPILKA_GATEWAY_YOOKASSA_VAT: '20',
      KOPILKA_GATEWAY_TELEGRAM__STARS_BOT_TOKEN: '123:abc',
      KOPILKA_GATEWAY_SANDBOX_IPS: '[127.0.0.1, ::1]',
    })
    expect(config.gateways).toEqual({
      yookassa: { shop_id: '123456', has_receipts: true, vat: 20 },
      'telegram-stars': { bot_token: '123:abc' },
      sandbox: { ips: ['127.0.0.1', '::1'] },
    })
  })
})

describe('the order of gateways', () => {
  const KOPILKA_GATEWAY_ORDER = 'RUB=yookassa, robokassa; any/DE=stripe'

  test('is read as rules, said in words, and is no setting of a gateway', () => {
    const config = loadConfig({ KOPILKA_GATEWAY_ORDER })
    expect(config.gateway_order).toEqual([
      { currency: 'RUB', gateways: ['yookassa', 'robokassa'] },
      { country: 'DE', gateways: ['stripe'] },
    ])
    expect(config.gateways).toEqual({})
    expect(unknownSettings({ KOPILKA_GATEWAY_ORDER })).toEqual([])
    const shown = showSettings({ KOPILKA_GATEWAY_ORDER }).find(({ name }) => name === 'gateway_order')
    expect(shown?.value).toBe('RUB: yookassa, then robokassa, every currency from DE: stripe')
    expect(loadConfig({}).gateway_order).toEqual([])
  })

  test('is refused whole when a part of it cannot be read', () => {
    expect(problemsOf({ KOPILKA_GATEWAY_ORDER: 'RUB=yookassa; euro=stripe' })).toContain(
      'KOPILKA_GATEWAY_ORDER: "euro=stripe" is not CURRENCY/COUNTRY=gateway,gateway',
    )
  })
})

test('a misspelt setting is noticed, what a cluster adds is not ours', () => {
  expect(
    unknownSettings({
      KOPILKA_PROT: '1',
      KOPILKA_PORT: '9000',
      KOPILKA_MODE: 'live',
      KOPILKA_GATEWAY_STRIPE_API_KEY: 'x',
      DATABASE_URL_FILE: 'x',
      KOPILKA_SERVICE_HOST: '10.0.0.1',
      KOPILKA_SERVICE_PORT_HTTP: '80',
      KOPILKA_PORT_8080_TCP_ADDR: '10.0.0.1',
      OTHER: 'x',
    }),
  ).toEqual(['KOPILKA_PORT', 'KOPILKA_PROT'])
  expect(unknownSettings({ KOPILKA_PORT: 'tcp://10.0.0.1:8080' })).toEqual([])
})

describe('the settings about fiscal receipts', () => {
  test('are the law’s words, and by default nothing is paid ahead', () => {
    expect(loadConfig({}).fiscal).toEqual({
      gateways: 'auto',
      vat: 'none',
      payment_subject: 'service',
      payment_mode: 'full_payment',
      prepayment_subject: 'payment',
      offset: 'end',
      offset_days: 365,
    })
    const { fiscal } = loadConfig({
      KOPILKA_FISCAL_GATEWAYS: 'yookassa, crypto-pay',
      KOPILKA_FISCAL_VAT: '22',
      KOPILKA_FISCAL_MODE: 'full_prepayment',
      KOPILKA_FISCAL_OFFSET: 'grant',
      KOPILKA_FISCAL_OFFSET_DAYS: '30',
      KOPILKA_FISCAL_TAX_SYSTEM: '2',
    })
    expect(fiscal).toMatchObject({ gateways: ['yookassa', 'crypto-pay'], vat: '22', tax_system: 2 })
    expect(fiscal).toMatchObject({ payment_mode: 'full_prepayment', offset: 'grant', offset_days: 30 })
    expect(loadConfig({ KOPILKA_FISCAL_GATEWAYS: 'none' }).fiscal.gateways).toEqual([])
  })

  test.each([
    ['KOPILKA_FISCAL_GATEWAYS', 'yookassa;robokassa'],
    ['KOPILKA_FISCAL_VAT', '19'],
    ['KOPILKA_FISCAL_MODE', 'advance'],
    ['KOPILKA_FISCAL_SUBJECT', 'A service'],
    ['KOPILKA_FISCAL_OFFSET', 'never'],
    ['KOPILKA_FISCAL_OFFSET_DAYS', '0'],
    ['KOPILKA_FISCAL_TAX_SYSTEM', '7'],
  ])('refuse %s=%s', (variable, value) => {
    expect(() => loadConfig({ [variable]: value })).toThrow(variable)
  })
})
