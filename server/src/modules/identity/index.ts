export { createApiKey, getApiKey, listApiKeys, programAsMaker, revokeApiKey } from './api-keys.ts'
export type { ApiKey, KeyMaker, NewApiKey } from './api-keys.ts'
export { createAuthenticator } from './authenticator.ts'
export type { Authenticator, AuthenticatorOptions, Credentials } from './authenticator.ts'
export type { KeyIdentity } from './key-memory.ts'
export { SetupTokenInvalid } from './errors.ts'
export { identityRoutes } from './routes.ts'
export type { IdentitySettings } from './routes.ts'
export type { KeyMode } from './secret-key.ts'
export { createSetupToken, isSetUp, isSetupTokenValid, redeemSetupToken } from './setup.ts'
export { auditWriter, identityInvariants, listAudit, writeAudit } from './audit.ts'
export type { AuditFilter, AuditRecord, NewAuditRecord } from './audit.ts'
export { BUILT_IN_ROLES, isPermission, PERMISSIONS } from './staff-permissions.ts'
export type { Permission } from './staff-permissions.ts'
export {
  createRole,
  deleteRole,
  getRole,
  listRoles,
  permissionsOf,
  permissionsOfMany,
  updateRole,
} from './roles.ts'
export type { Granter, Role, RoleFacts } from './roles.ts'
export { appointStaff, dismissStaff, getStaff, listStaff, personBehind, retireStaff } from './staff.ts'
export type { StaffMember } from './staff.ts'
