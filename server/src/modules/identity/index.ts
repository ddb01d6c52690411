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
  granterOf,
  listRoles,
  permissionsOf,
  permissionsOfMany,
  updateRole,
} from './roles.ts'
export type { Granter, Role, RoleFacts } from './roles.ts'
export { appointStaff, dismissStaff, getStaff, listStaff, personBehind, retireStaff } from './staff.ts'
export { rolesOfUsers } from './staff.ts'
export type { StaffMember } from './staff.ts'
export { createAccessTokens, resealSigningKeys } from './access-tokens.ts'
export type { AccessTokens } from './access-tokens.ts'
export { AlreadyGiven, claimBenefit, extendBenefits, resealBenefitKey } from './benefits.ts'
export type { BenefitKit, KnownBy } from './benefits.ts'
export { databaseLimits } from './attempts.ts'
export type { MailMessage, SendMail } from './mails.ts'
export { mailPageRoutes } from './mail-page-routes.ts'
export { meRoutes, person } from './me-routes.ts'
export type { PermissionsOf } from './permissions.ts'
export { createPeople, wirePeopleJobs } from './people.ts'
export type { PeopleOptions } from './people.ts'
export { createPeopleAuthenticator } from './people-authenticator.ts'
export type { PeopleAuthenticator, PersonIdentity } from './people-authenticator.ts'
export * as identityEvents from './people-events.ts'
export type { UserPayload } from './people-events.ts'
export type { Client, PeopleKit, PeopleSettings } from './people-kit.ts'
export {
  BY_BODY,
  checkBrowser,
  clientOf,
  PER_MINUTE,
  sendOutcome,
  signedInBody,
  signInRoutes,
  whoSignsOut,
} from './people-routes.ts'
export type { PeopleRouteKit } from './people-routes.ts'
export { register } from './registration.ts'
export type { ConfirmationSent } from './registration.ts'
export { resealSecondFactors } from './second-factor.ts'
export { sessionsChanged } from './session-changes.ts'
export { endSessionOfToken, endSessions, openSession, refreshSession } from './sessions.ts'
export type { OpenedSession, Session } from './sessions.ts'
export { finish, signInWithPassword } from './sign-in.ts'
export type { SignedIn, SignInOutcome } from './sign-in.ts'
export { TELEGRAM_PUBLIC_KEY } from './telegram-proof.ts'
export { assignCustomer, getUser, isCustomerTaken, listUsers, updateProfile } from './users.ts'
export type { User } from './users.ts'
export { vendorSignInRoutes } from './vendor-sign-in-routes.ts'
export { eraseUser } from './erasure.ts'
export { changeUserAsStaff, createUserAsStaff } from './users-by-staff.ts'
export type { ManagedUser } from './users-by-staff.ts'
export { impersonationRoutes } from './impersonation-routes.ts'
export { startImpersonation } from './impersonation.ts'
export type { Impersonation } from './impersonation.ts'
