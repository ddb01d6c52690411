export {
  createCustomer,
  ensureCustomer,
  eraseCustomer,
  findCustomer,
  getCustomers,
  listCustomers,
  mergeCustomer,
  resolveCustomer,
  updateCustomer,
} from './customers.ts'
export type { Customer, CustomerFacts, CustomerListFilter, CustomerMetadata } from './customers.ts'
export { isExternalId, parseCustomerKey, parseTelegramId } from './customer-key.ts'
export type { CustomerKey } from './customer-key.ts'
export { createCustomerResolver } from './customer-resolver.ts'
export type { CustomerResolver } from './customer-resolver.ts'
export { customerRoutes } from './routes.ts'
