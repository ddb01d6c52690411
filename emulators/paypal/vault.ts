import { unknownObject } from '../emulator.ts'
import { newId } from './objects.ts'
import type { OrderPlan, PaymentToken, Vault, World } from './objects.ts'
import { tell } from './webhooks.ts'

/** The agreement the buyer made on the page; slow accounts have it only later. */
export function keepToken(world: World, plan: OrderPlan): void {
  if (!plan.wants_vault) return
  const { order } = plan
  const { vault_outcome } = world.kit.settings()
  const id = newId(world).toLowerCase()
  const customer = { id: world.kit.random.string(10, '123456789') }
  const is_told = vault_outcome === 'VAULTED'
  const vault: Vault = { ...(is_told ? { id } : {}), status: is_told ? 'VAULTED' : 'APPROVED', customer }
  const wallet = order.payment_source?.paypal ?? {}
  order.payment_source = { paypal: { ...wallet, attributes: { vault } } }
  plan.late_token = {
    id,
    customer,
    payment_source: {
      paypal: {
        email_address: wallet.email_address ?? 'buyer@personal.example.com',
        payer_id: wallet.account_id ?? 'QYR5Z8XDVJNXQ',
      },
    },
    metadata: { order_id: order.id },
  }
  if (vault_outcome !== 'LATE') bringToken(world, plan)
}

/** The control API's `vault: created`: the agreement is ready now, and told. */
export function bringToken(world: World, plan: OrderPlan): PaymentToken {
  const token = plan.late_token
  if (!token) throw unknownObject(plan.order.id)
  delete plan.late_token
  world.tokens.add(token.id, token)
  announce(world, 'CREATED', token)
  return token
}

/** The agreement ends: the buyer took it back, or the merchant asked to forget it. */
export function dropToken(world: World, token: PaymentToken): PaymentToken {
  world.tokens.delete(token.id)
  announce(world, 'DELETED', token)
  return token
}

function announce(world: World, word: 'CREATED' | 'DELETED', token: PaymentToken): void {
  tell(world, `VAULT.PAYMENT-TOKEN.${word}`, {
    resource_type: 'payment_token',
    resource: token,
    object_id: token.metadata.order_id,
  })
}
