import { createStore, defineEmulator, startEmulator, unknownObject, wrongState } from '../emulator.ts'
import type { BaseSettings, Emulator, EmulatorOptions } from '../emulator.ts'

interface CoinSettings extends BaseSettings {
  api_key: string
}

interface Coin {
  id: string
  status: string
  value: number
}

/** The smallest vendor that can be: what the base's own tests run on, and a template for a new emulator. */
export const coinVendor = defineEmulator<CoinSettings>({
  id: 'coin',
  title: 'Coin',
  description: 'A vendor of one object.',
  settings: {
    api_key: {
      schema: { type: 'string', minLength: 8 },
      default: 'coin_key_12345',
      description: 'Sent as X-Key.',
      is_secret: true,
    },
  },
  retry_schedule_ms: [60_000, 120_000],
  create(kit) {
    const coins = createStore<Coin>(1000)
    const tell = (coin: Coin) =>
      kit.notify({
        object_id: coin.id,
        event: `coin.${coin.status}`,
        headers: { 'content-type': 'application/json', 'x-mark': kit.settings().api_key },
        body: JSON.stringify(coin),
      })
    return {
      collections: { coins },
      reset: () => coins.clear(),
      routes(app) {
        app.post<{ Body: { value: number } }>('/coins', async (request) => {
          const coin = { id: `coin_${kit.random.hex(8)}`, status: 'new', value: request.body.value }
          coins.add(coin.id, coin)
          return coin
        })
        app.get<{ Params: { id: string } }>('/coins/:id', async (request, reply) => {
          const coin = coins.get(request.params.id)
          return coin ?? reply.code(404).send({ error: 'none' })
        })
      },
      complete(id, { outcome }) {
        const coin = coins.get(id)
        if (!coin) throw unknownObject(id)
        if (coin.status !== 'new') throw wrongState(id, coin.status)
        coin.status = outcome
        tell(coin)
        return coin
      },
      forge(id) {
        const coin = coins.get(id)
        if (!coin) return []
        const headers = { 'content-type': 'application/json', 'x-mark': 'wrong' }
        const body = JSON.stringify({ ...coin, status: 'succeeded', value: coin.value + 1 })
        return [{ object_id: id, event: 'coin.succeeded', headers, body, note: 'wrong key, other value' }]
      },
    }
  },
})

/** Starts the coin vendor for a test. */
export function startCoinVendor(options: EmulatorOptions<CoinSettings> = {}): Promise<Emulator> {
  return startEmulator(coinVendor, options)
}
