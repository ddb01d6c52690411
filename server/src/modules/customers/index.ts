export { claimForCustomer, extendForCustomers } from './benefits.ts'
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
export { followLink, followUnlink, followUser, giveCustomers } from './customers-of-users.ts'
export { isExternalId, parseCustomerKey, parseTelegramId } from './customer-key.ts'
export type { CustomerKey } from './customer-key.ts'
export { createCustomerResolver } from './customer-resolver.ts'
export type { CustomerResolver } from './customer-resolver.ts'
export { customerRoutes } from './routes.ts'
export { InvitationInvalid, MemberLimitReached } from './organizations-errors.ts'
export { organizationRoutes } from './organizations-routes.ts'
export type { SharedBooks, SharedSpend, SharedSpendInput, SharedWallet } from './organizations-routes.ts'
export { createOrganization, enterOrganization, leaveOrganizations } from './organizations.ts'
export type { Member, Organization, OrganizationRole, Standing } from './organizations.ts'
