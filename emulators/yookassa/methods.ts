import { wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { cardBehaviour, DEFAULT_CARD, describeCard } from './cards.ts'
import { forbidden, invalidRequest } from './errors.ts'
import { tell } from './notifications.ts'
import { newId } from './objects.ts'
import type { Card, PaymentMethod, SavedMethod, World } from './objects.ts'

/** Methods the vendor can charge again without the buyer. */
const SAVABLE = new Set(['bank_card', 'sbp', 'yoo_money', 'sberbank', 'tinkoff_bank'])

export interface CardData {
  number: string
  expiry_year: string
  expiry_month: string
}

export function isSavable(type: string): boolean {
  return SAVABLE.has(type)
}

/** What the buyer paid with, as the vendor shows it. A method's id is the id of its first payment. */
export function describeMethod(
  world: World,
  input: { id: string; type: string; card_number?: string; card?: CardData },
): PaymentMethod {
  const { kit } = world
  const base = { id: input.id, type: input.type, saved: false, status: 'inactive' as const }
  if (input.type === 'bank_card') {
    const number = input.card?.number ?? input.card_number ?? DEFAULT_CARD
    const card: Card = describeCard(
      number,
      input.card && { year: input.card.expiry_year, month: input.card.expiry_month },
    )
    return { ...base, title: `Bank card *${card.last4}`, card }
  }
  if (input.type === 'sbp') {
    const payer_bank_details = { bank_id: '100000000111', bic: '044525225' }
    return { ...base, sbp_operation_id: kit.random.hex(32).toUpperCase(), payer_bank_details }
  }
  if (input.type === 'yoo_money') {
    const account_number = `41001${kit.random.string(10, '0123456789')}`
    return { ...base, account_number, title: `YooMoney wallet ${account_number}` }
  }
  return base
}

/** Keeps a method for later charges. */
export function saveMethod(world: World, method: PaymentMethod): void {
  const { shop_id, gateway_id } = world.kit.settings()
  method.saved = true
  method.status = 'active'
  world.methods.add(method.id, {
    wire: { ...method, holder: { account_id: shop_id, gateway_id } },
    created_at: world.kit.now().toISOString(),
    language: 'ru',
  })
}

interface PostMethod {
  type: string
  card?: CardData
  holder?: { gateway_id: string }
  confirmation?: { type: string; return_url: string; enforce?: boolean; locale?: string }
}

/** `POST /payment_methods`: saves a card without a payment; the buyer agrees on the page. Throws 400, 403. */
export function createMethod(world: World, body: unknown): SavedMethod['wire'] {
  const request = body as PostMethod
  const { kit } = world
  const { shop_id, gateway_id, is_autopayment_enabled } = kit.settings()
  if (!is_autopayment_enabled) throw forbidden('The shop may not save payment methods')
  if (request.holder && request.holder.gateway_id !== gateway_id) {
    throw invalidRequest('There is no such gateway', 'holder.gateway_id')
  }
  if (!request.confirmation && !request.card) throw invalidRequest('Parameter is missing', 'confirmation')
  const id = newId(kit)
  const described = describeMethod(world, {
    id,
    type: request.type,
    ...(request.card ? { card: request.card } : {}),
  })
  const method: SavedMethod = {
    wire: { ...described, status: 'pending', holder: { account_id: shop_id, gateway_id } },
    created_at: kit.now().toISOString(),
    language: request.confirmation?.locale === 'en_US' ? 'en' : 'ru',
  }
  if (request.confirmation) {
    const { type, return_url, enforce } = request.confirmation
    method.return_url = return_url
    method.wire.confirmation = {
      type,
      return_url,
      confirmation_url: `${kit.base_url()}/checkout/methods/v1/contract?methodId=${id}`,
      ...(enforce === undefined ? {} : { enforce }),
    }
  }
  if (!request.confirmation) activate(method, cardBehaviour(request.card?.number ?? '').decline === undefined)
  world.methods.add(id, method)
  if (method.wire.status === 'active') tell(world, 'payment_method.active', method.wire)
  return method.wire
}

/**
 * Agrees to (`succeeded`) or refuses (`canceled`) the saving of a method; `canceled` for an active one is the
 * buyer's withdrawal: later charges end as `permission_revoked`. Throws ControlError 409.
 */
export function completeMethod(world: World, method: SavedMethod, input: CompleteInput): SavedMethod['wire'] {
  const { status } = method.wire
  if (status === 'inactive' || (status === 'active' && input.outcome !== 'canceled')) {
    throw wrongState(method.wire.id, status)
  }
  activate(method, input.outcome !== 'canceled')
  if (method.wire.status === 'active') tell(world, 'payment_method.active', method.wire)
  return method.wire
}

function activate(method: SavedMethod, is_agreed: boolean): void {
  delete method.wire.confirmation
  method.wire.status = is_agreed ? 'active' : 'inactive'
  method.wire.saved = is_agreed
}
